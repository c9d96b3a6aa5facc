"""A classifier's forward pass in stages, of which the frozen ones run only once.

`FewShotClassifier` runs transformers' own code and is the version to read first. This module
computes the same features up to rounding, with less work:

* Below the lowest tuned tensor, an input gives the same states at every step. They are computed
  once, without gradient. If no tensor of an encoder is tuned, the whole encoder runs only once.
* Prompts share their beginnings ("a photo of a"). Under the causal mask, a token's state does not
  depend on the tokens after it. So each distinct prefix is encoded once, and nothing after EOT.
* In the last block, only the pooled token (EOT or CLS) has a query and passes through the MLP.

In SigLIP each token of a prompt sees all others, so that no two prompts share a state. Its image
encoder pools all tokens. So the last block has fewer queries in the text encoder alone.

An encoder is a sequence of numbered stages: 0 is the norm before the blocks (the text encoder has
none); each block has two, its attention and its MLP; the last two are the final norm and the
projection.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.backbones.architecture import Encoder
from study.backbones.tokenizing import end_positions
from study.errors import SubsetError
from study.method.model import FewShotClassifier
from study.method.parameters import PROJECTION, ParameterTensor, find_tensor


@dataclass(frozen=True)
class Prompts:
    """The distinct prefixes of prompts, encoded up to the first tuned stage."""

    hidden: Tensor
    """The states of the prefixes, (prefixes, width); after the last stage (prompts, dim).

    Where tokens see the tokens after them, each token of each prompt counts as a prefix.
    """
    prefix_at: Tensor
    """(prompts, length) int64: the prefix that ends at each position; arbitrary after EOT."""
    first_at: Tensor
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
        self.tuned = classifier.tuned
        """The tuned parameters."""
        self.logits = classifier.logits
        """Scaled cosines; see `FewShotClassifier.logits`."""
        self.text = StagedEncoder(classifier, "text")
        """The text encoder; the results of `begin_prompts` depend on its first tuned stage."""
        self.vision = StagedEncoder(classifier, "vision")
        """The vision encoder; the results of `begin_images` depend on its first tuned stage."""
        self.images_are_frozen = self.vision.first >= self.vision.projection
        """Whether images pass the blocks of their encoder but once, as nothing there is tuned."""

    @torch.no_grad()
    def begin_prompts(self, input_ids: Tensor) -> Prompts:
        """Find the distinct prefixes of prompts and encode them up to the first tuned stage.

        Args:
            input_ids: (prompts, length) int64.
        """
        device = self.classifier.device
        rows = input_ids.tolist()
        if self.text.is_causal:
            ends = end_positions(rows, self.classifier.clip.config.text_config.eos_token_id)
        else:
            ends = [len(row) - 1 for row in rows]
        length = max(ends) + 1
        index_and_position: dict[tuple[int, ...], tuple[int, int]] = {}
        prefix_rows = []
        for number, (row, end) in enumerate(zip(rows, ends, strict=True)):
            prefix_row = [0] * length
            for position in range(end + 1):
                # What the state of a token depends on; in SigLIP, these are all tokens.
                prefix = (*row, position)
                if self.text.is_causal:
                    prefix = tuple(row[: position + 1])
                at_first = (len(index_and_position), number * length + position)
                prefix_row[position], _ = index_and_position.setdefault(prefix, at_first)
            prefix_rows.append(prefix_row)
        first_at = torch.tensor([at for _, at in index_and_position.values()], device=device)
        tokens = input_ids.to(device)[:, :length].flatten()[first_at]
        embeddings = self.classifier.clip.text_model.embeddings
        positions = embeddings.position_embedding(first_at % length)
        prompts = Prompts(
            hidden=embeddings.token_embedding(tokens) + positions,
            prefix_at=torch.tensor(prefix_rows, device=device),
            first_at=first_at,
            end=torch.tensor(ends, device=device),
        )
        hidden = self.text.run(0, self.text.first, prompts.hidden, prompts)
        return replace(prompts, hidden=hidden)

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
        features = self.text.run(self.text.first, self.text.last, prompts.hidden, prompts)
        return self.classifier.to_unit_length(features)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit-length image features, (images, dim) float32.

        Args:
            images: the result of `begin_images`.
        """
        features = self.vision.run(self.vision.first, self.vision.last, images)
        return self.classifier.to_unit_length(features)


class StagedEncoder:
    """The stages of one encoder.

    The states of the vision encoder are (images, tokens, width); after CLIP's last attention there
    is one token. Those of the text encoder are (prefixes, width), and after the last attention
    (prompts, width).

    Args:
        classifier: the classifier, whose parameters are read at every call.
        encoder: which of its encoders.

    Raises:
        SubsetError: no stage reads a tuned tensor, which would silently not be trained.
    """

    def __init__(self, classifier: FewShotClassifier, encoder: Encoder) -> None:
        clip = classifier.clip
        tower = getattr(clip, f"{encoder}_model")
        self._layers = tower.encoder.layers
        self._autocast = classifier.autocast
        self._config = tower.config
        self.is_causal = clip.config.model_type == "clip"
        """Whether the text encoder's tokens see those before them alone, as in CLIP."""
        # The layer from states to features.
        self._projection: nn.Module
        if not self.is_causal:
            self._projection = tower.head
        elif encoder == "text":
            self._projection = clip.text_projection
        else:
            self._projection = clip.visual_projection
        # Only CLIP's image encoder has a norm before its blocks.
        self._before = getattr(tower, "pre_layrnorm", nn.Identity())
        self._after = getattr(tower, "post_layernorm", None) or tower.final_layer_norm
        self.projection = 2 * len(self._layers) + 2
        """The last stage."""
        self.last = self.projection + 1
        """The number of stages."""
        stages = []
        for tuned in classifier.tuned:
            if tuned.name == PROJECTION:
                if encoder == "vision":
                    stages.append(self.projection)
                continue
            tensor = find_tensor(tuned.name)
            if tensor.encoder == encoder:
                stages.append(self._stage(tensor))
        untuned = self.last
        if self.is_causal and encoder == "vision":
            untuned = self.projection
        self.first = min(stages, default=untuned)
        """The first stage with a tuned tensor. Where nothing is tuned, it is CLIP's projection of
        images, whose inputs all such trials share, and in other encoders the number of stages."""
        self.is_tuned = bool(stages)
        """Whether anything is tuned in the encoder, so that its features change."""

    def _stage(self, tensor: ParameterTensor) -> int:
        """Return the stage that reads a tuned tensor."""
        if tensor.layer is None:
            stages = {"before": 0, "after": self.projection - 1}
        else:
            stages = {"attention": 1 + 2 * tensor.layer, "mlp": 2 + 2 * tensor.layer}
        stage = tensor.row.stage
        if stage not in stages:
            raise SubsetError(f"{tensor} cannot be tuned: no stage of the staged pass reads it")
        return stages[stage]

    def run(self, start: int, stop: int, hidden: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Apply the stages from ``start`` up to but not including ``stop``."""
        with self._autocast():
            for stage in range(start, stop):
                hidden = self._run_stage(stage, hidden, prompts)
        return hidden

    def _run_stage(self, stage: int, hidden: Tensor, prompts: Prompts | None) -> Tensor:
        block, is_mlp = divmod(stage - 1, 2)
        output: Tensor
        if stage == 0:
            output = self._before(hidden)
        elif stage == self.projection - 1:
            output = self._after(hidden)
        elif stage == self.projection:
            output = self._projection(hidden).flatten(1)
        elif is_mlp:
            output = self._apply_mlp(self._layers[block], hidden)
        elif not prompts:
            output = self._attend_images(self._layers[block], hidden)
        else:
            output = self._attend_prompts(self._layers[block], hidden, prompts)
        return output

    def _apply_mlp(self, layer: Any, hidden: Tensor) -> Tensor:
        """Apply a block's MLP.

        QuickGELU(x) = x·σ(cx) = SiLU(cx)/c. The factor c goes into the LayerNorm and the biases,
        and 1/c into the last sum. So the activation reads the wide rows once, not three times.
        """
        norm = layer.layer_norm2
        mlp = layer.mlp
        if self._config.hidden_act != "quick_gelu":
            change: Tensor = mlp(norm(hidden))
            return hidden + change
        c = 1.702
        weight = norm.weight * c
        bias = norm.bias * c
        normed = F.layer_norm(hidden, norm.normalized_shape, weight, bias, norm.eps)
        inner = F.silu(F.linear(normed, mlp.fc1.weight, mlp.fc1.bias * c))
        scaled_change = F.linear(inner, mlp.fc2.weight, mlp.fc2.bias * c)
        return torch.add(hidden, scaled_change, alpha=1 / c)

    def _attend_images(self, layer: Any, hidden: Tensor) -> Tensor:
        """Apply a block's attention to images; in the last block, only pooled tokens query."""
        attention = layer.self_attn
        normed = layer.layer_norm1(hidden)
        queries = slice(None)
        if self.is_causal and layer is self._layers[-1]:
            queries = slice(1)
        query = self._split_heads(attention.q_proj(normed[:, queries]))
        key = self._split_heads(attention.k_proj(normed))
        value = self._split_heads(attention.v_proj(normed))
        attended = self._attend(query, key, value)
        change: Tensor = attention.out_proj(attended.transpose(1, 2).flatten(2))
        return hidden[:, queries] + change

    def _attend_prompts(self, layer: Any, hidden: Tensor, prompts: Prompts) -> Tensor:
        """Apply a block's attention to prompts; in the last block, only pooled tokens query."""
        attention = layer.self_attn
        normed = layer.layer_norm1(hidden)
        prefix_at = prompts.prefix_at
        change: Tensor
        # Each prefix is projected once, then copied to its positions in the prompts.
        key = self._split_heads(attention.k_proj(normed)[prefix_at])
        value = self._split_heads(attention.v_proj(normed)[prefix_at])
        if layer is not self._layers[-1]:
            query = self._split_heads(attention.q_proj(normed)[prefix_at])
            attended = self._attend(query, key, value, is_causal=self.is_causal)
            by_position = attended.transpose(1, 2).flatten(2).flatten(0, 1)
            change = attention.out_proj(by_position[prompts.first_at])
            return hidden + change
        ends = prompts.end.unsqueeze(1)
        pooled = prefix_at.gather(1, ends).squeeze(1)
        query = self._split_heads(attention.q_proj(normed[pooled]).unsqueeze(1))
        positions = torch.arange(prefix_at.shape[1], device=hidden.device)
        up_to_end = (positions <= ends)[:, None, None]
        attended = self._attend(query, key, value, attn_mask=up_to_end)
        change = attention.out_proj(attended.flatten(1))
        return hidden[pooled] + change

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """Apply attention; on a CPU, bfloat16 avoids PyTorch's kernel, whose gradient is slow.

        It was measured by `tests/benchmarks/precision.py` of commit ad753f9e. Prompts are computed
        in float32, and images by products in bfloat16. A softmax of bfloat16 computes in float32.
        """
        if query.device.type != "cpu" or query.dtype != torch.bfloat16:
            return F.scaled_dot_product_attention(query, key, value, **options)
        with torch.autocast("cpu", enabled=False):
            if options:  # masked attention needs the higher precision, and costs little
                query, key, value = query.float(), key.float(), value.float()
                return F.scaled_dot_product_attention(query, key, value, **options)
            scale = query.shape[-1] ** -0.5
            scores = query * scale @ key.transpose(-1, -2)
            attended: Tensor = scores.softmax(dim=-1) @ value
            return attended

    def _split_heads(self, projected: Tensor) -> Tensor:
        """Split the heads: (rows, tokens, width) to (rows, heads, tokens, width of a head)."""
        by_head: Tensor = projected.unflatten(-1, (self._config.num_attention_heads, -1))
        return by_head.transpose(1, 2)
