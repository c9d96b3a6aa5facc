"""A classifier's forward pass in stages, which computes once what cannot change.

`FewShotClassifier` runs transformers' own code and is the version to read first. This module
computes the same features up to rounding, with less work:

* Below the lowest tuned tensor, an input gives the same states at every step. They are computed
  once, without gradient. If no tensor of an encoder is tuned, the whole encoder runs only once.
* Prompts share their beginnings ("a photo of a"). Under the causal mask, a token's state does not
  depend on the tokens after it. So each distinct prefix is encoded once, and nothing after EOT.
* In the last block, only the pooled token (EOT or CLS) has a query and passes through the MLP.

In SigLIP each token of a prompt sees all others, so that no two share a state, and the image
encoder pools all tokens. There, the last block saves only the queries of the text encoder.

An encoder is a sequence of numbered stages: 0 is the norm before the blocks (the text encoder has
none); each block has two, its attention and its MLP; the last two are the final norm and the
projection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.backbones.architecture import Encoder
from study.backbones.tokenizing import end_positions
from study.errors import SubsetError
from study.method.model import FewShotClassifier, TunedParameter
from study.method.parameters import PROJECTION, Leaf, leaf_of


@dataclass(frozen=True)
class Prompts:
    """Prompts that are encoded up to the first tuned stage."""

    hidden: Tensor
    """The states of the prefixes, (prefixes, width); after the last stage (prompts, dim).

    Where tokens see the tokens after them, each token of each prompt counts as a prefix.
    """
    prefix_at: Tensor
    """(prompts, length) int64: the prefix that ends at each position; arbitrary after EOT."""
    place: Tensor
    """(prefixes,) int64: the index of each prefix's first occurrence in flattened ``prefix_at``."""
    end: Tensor
    """(prompts,) int64: the position of EOT."""


class StagedClassifier:
    """A classifier whose frozen first stages run once; it has no parameters of its own.

    Args:
        classifier: the classifier, whose parameters are read at every call.

    Raises:
        SubsetError: the classifier tunes a tensor that no stage reads.
    """

    def __init__(self, classifier: FewShotClassifier) -> None:
        self.classifier = classifier
        self.tuned: Sequence[TunedParameter] = classifier.tuned
        """The tuned parameters."""
        self.logits = classifier.logits
        """Scaled cosines; see `FewShotClassifier.logits`."""
        self._is_causal = classifier.clip.config.model_type == "clip"
        self.text = StagedEncoder(classifier, "text")
        """The text encoder; the results of `begin_prompts` depend on its first tuned stage."""
        self.vision = StagedEncoder(classifier, "vision")
        """The vision encoder; the results of `begin_images` depend on its first tuned stage."""

    @torch.no_grad()
    def begin_prompts(self, input_ids: Tensor) -> Prompts:
        """Find the distinct prefixes of prompts and encode them up to the first tuned stage.

        Args:
            input_ids: (prompts, length) int64.
        """
        clip, device = self.classifier.clip, self.classifier.device
        rows = input_ids.tolist()
        if self._is_causal:
            ends = end_positions(rows, clip.config.text_config.eos_token_id)
        else:
            ends = [len(row) - 1 for row in rows]
        length = max(ends) + 1
        # What a token's state depends on: the tokens up to it, or all, and which of them it is.
        paths = [
            [tuple(row[: at + 1]) if self._is_causal else (*row, at) for at in range(end + 1)]
            for row, end in zip(rows, ends, strict=True)
        ]
        places: dict[tuple[int, ...], int] = {}  # of each prefix, by its first occurrence
        for number, path in enumerate(paths):
            for at, prefix in enumerate(path):
                places.setdefault(prefix, number * length + at)
        index = {prefix: number for number, prefix in enumerate(places)}
        padded = [[index[one] for one in path] + [0] * (length - len(path)) for path in paths]
        embeddings = clip.text_model.embeddings
        place = torch.tensor(list(places.values()), device=device)
        tokens = input_ids.to(device)[:, :length].flatten()[place]
        prompts = Prompts(
            hidden=embeddings.token_embedding(tokens)
            + embeddings.position_embedding(place % length),
            prefix_at=torch.tensor(padded, device=device),
            place=place,
            end=torch.tensor(ends, device=device),
        )
        return replace(prompts, hidden=self.text.run(0, self.text.first, prompts.hidden, prompts))

    @torch.no_grad()
    def begin_images(self, pixel_values: Tensor) -> Tensor:
        """Encode images up to the first tuned stage.

        Args:
            pixel_values: (images, 3, size, size) float32, normalised.

        Returns:
            The states of the tokens, (images, tokens, width); after the last stage (images, dim).
        """
        with self.classifier.autocast():
            hidden = self.classifier.clip.vision_model.embeddings(pixel_values)
        return self.vision.run(0, self.vision.first, hidden)

    def encode_text(self, prompts: Prompts) -> Tensor:
        """Return unit-length text features, (prompts, dim) float32.

        Args:
            prompts: the result of `begin_prompts`.
        """
        return self.classifier.unit(
            self.text.run(self.text.first, self.text.last, prompts.hidden, prompts)
        )

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit-length image features, (images, dim) float32.

        Args:
            images: the result of `begin_images`.
        """
        return self.classifier.unit(self.vision.run(self.vision.first, self.vision.last, images))


class StagedEncoder:
    """The stages of one encoder.

    The states of the vision encoder are (images, tokens, width), with one token from CLIP's last
    attention on; those of the text encoder (prefixes, width), from there on (prompts, width).

    Args:
        classifier: the classifier, whose parameters are read at every call.
        encoder: which of its encoders.

    Raises:
        SubsetError: no stage reads a tuned tensor, so that it would silently stay as it is.
    """

    def __init__(self, classifier: FewShotClassifier, encoder: Encoder) -> None:
        clip: Any = classifier.clip
        tower = getattr(clip, f"{encoder}_model")
        self._layers = tower.encoder.layers
        self._autocast, self._config = classifier.autocast, tower.config
        # The tokens that ask in the last block, and the layer that makes features of them.
        self._is_causal = clip.config.model_type == "clip"
        self._asking = slice(1 if self._is_causal else None)
        self._projection: nn.Module = (
            {"text": clip.text_projection, "vision": clip.visual_projection}[encoder]
            if self._is_causal
            else tower.head
        )
        # Only CLIP's image encoder has a norm before its blocks.
        self._before: nn.Module = getattr(tower, "pre_layrnorm", nn.Identity())
        self._after: nn.Module = getattr(tower, "post_layernorm", None) or tower.final_layer_norm
        self.projection = 2 * len(self._layers) + 2
        """The last stage."""
        self.last = self.projection + 1
        """The number of stages."""
        stages = []
        for tuned in classifier.tuned:
            if tuned.name == PROJECTION and encoder == "vision":
                stages.append(self.projection)
            elif tuned.name != PROJECTION and leaf_of(tuned.name).encoder == encoder:
                stages.append(self._stage(leaf_of(tuned.name)))
        self.first = min(stages, default=self.last)
        """The first stage with a tuned tensor; the number of stages if nothing is tuned."""
        self.is_tuned = bool(stages)
        """Whether anything is tuned in the encoder, so that its features change."""

    def _stage(self, leaf: Leaf) -> int:
        """Return the stage that reads a tuned tensor."""
        if leaf.layer is None:
            stages = {"before": 0, "after": self.projection - 1}
        else:
            stages = {"attention": 1 + 2 * leaf.layer, "mlp": 2 + 2 * leaf.layer}
        if leaf.row.stage not in stages:
            raise SubsetError(f"the staged pass cannot vary {leaf}: no stage reads it")
        return stages[leaf.row.stage]

    def run(self, start: int, stop: int, hidden: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Apply the stages from ``start`` up to but not including ``stop``."""
        with self._autocast():
            for stage in range(start, stop):
                block, is_mlp = divmod(stage - 1, 2)
                if stage == 0:
                    hidden = self._before(hidden)
                elif stage == self.projection - 1:
                    hidden = self._after(hidden)
                elif stage == self.projection:
                    hidden = self._projection(hidden).flatten(1)
                elif is_mlp:
                    hidden = self._mlp(self._layers[block], hidden)
                elif prompts is None:
                    hidden = self._attend_images(self._layers[block], hidden)
                else:
                    hidden = self._attend_prompts(self._layers[block], hidden, prompts)
        return hidden

    def _mlp(self, layer: Any, hidden: Tensor) -> Tensor:
        """Apply a block's MLP.

        QuickGELU(x) = x·σ(cx) = SiLU(cx)/c. The factor c goes into the LayerNorm and the biases,
        and 1/c into the last sum. So the activation reads the wide rows once, not three times.
        """
        norm, mlp = layer.layer_norm2, layer.mlp
        if self._config.hidden_act != "quick_gelu":
            return hidden + mlp(norm(hidden))
        c = 1.702
        normed = F.layer_norm(
            hidden, norm.normalized_shape, norm.weight * c, norm.bias * c, norm.eps
        )
        inner = F.silu(F.linear(normed, mlp.fc1.weight, mlp.fc1.bias * c))
        return torch.add(hidden, F.linear(inner, mlp.fc2.weight, mlp.fc2.bias * c), alpha=1 / c)

    def _attend_images(self, layer: Any, hidden: Tensor) -> Tensor:
        """Apply a block's attention; in the last block for the tokens alone that are pooled."""
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        asking = self._asking if layer is self._layers[-1] else slice(None)
        query = self._split(attention.q_proj(normed[:, asking]))
        key, value = self._split(attention.k_proj(normed)), self._split(attention.v_proj(normed))
        attended = self._attend(query, key, value).transpose(1, 2).flatten(2)
        return hidden[:, asking] + attention.out_proj(attended)

    def _attend_prompts(self, layer: Any, hidden: Tensor, prompts: Prompts) -> Tensor:
        """Apply a block's attention; in the last block for the pooled token alone."""
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        # Each prefix is projected once, then copied to its positions in the prompts.
        key = self._split(attention.k_proj(normed)[prompts.prefix_at])
        value = self._split(attention.v_proj(normed)[prompts.prefix_at])
        if layer is not self._layers[-1]:
            query = self._split(attention.q_proj(normed)[prompts.prefix_at])
            attended = self._attend(query, key, value, is_causal=self._is_causal)
            one_each = attended.transpose(1, 2).flatten(2).flatten(0, 1)[prompts.place]
            return hidden + attention.out_proj(one_each)
        at_end = prompts.prefix_at.gather(1, prompts.end.unsqueeze(1)).squeeze(1)
        query = self._split(attention.q_proj(normed[at_end]).unsqueeze(1))
        positions = torch.arange(prompts.prefix_at.shape[1], device=hidden.device)
        up_to_end = (positions <= prompts.end.unsqueeze(1))[:, None, None]
        attended = self._attend(query, key, value, attn_mask=up_to_end)
        return hidden[at_end] + attention.out_proj(attended.flatten(1))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """Apply attention; on a CPU not by PyTorch's own way for bfloat16, whose gradient is slow.

        `tests/benchmarks/precision.py` measures it. Prompts pass in float32, images in products of
        bfloat16. A softmax of bfloat16 computes in float32.
        """
        if query.device.type != "cpu" or query.dtype != torch.bfloat16:
            return F.scaled_dot_product_attention(query, key, value, **options)
        with torch.autocast("cpu", enabled=False):
            if options:  # what is masked needs the better numbers, and costs little
                return F.scaled_dot_product_attention(
                    query.float(), key.float(), value.float(), **options
                )
            scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
            return scores.softmax(dim=-1) @ value

    def _split(self, projected: Tensor) -> Tensor:
        """Split the heads: (rows, tokens, width) to (rows, heads, tokens, width of a head)."""
        return projected.unflatten(-1, (self._config.num_attention_heads, -1)).transpose(1, 2)
