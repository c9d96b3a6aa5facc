"""A classifier's forward pass in stages, which computes once what cannot change.

`FewShotClassifier` runs transformers' own code and is the version to read first. This module
computes the same features up to rounding, with less work:

* Below the lowest tuned tensor, an input gives the same states at every step. They are computed
  once, without gradient. If no tensor of an encoder is tuned, the whole encoder runs only once.
* Prompts share their beginnings ("a photo of a"). Under the causal mask, a token's state does not
  depend on the tokens after it. So each distinct prefix is encoded once, and nothing after EOT.
* In the last block, only the pooled token (EOT or CLS) has a query and passes through the MLP.

An encoder is a sequence of numbered stages: 0 is the norm before the blocks (the text encoder has
none); each block has two, its attention and its MLP; the last is the final norm and projection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.errors import SubsetError
from study.method.model import FewShotClassifier, TunedParameter, end_positions
from study.method.parameters import Encoder, Leaf, leaf_of

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Prompts:
    """Prompts that are encoded up to the first tuned stage."""

    hidden: Tensor
    """The states of the prefixes, (prefixes, width); after the last stage (prompts, dim)."""
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
        clip, leaves = classifier.clip, [leaf_of(one.name) for one in classifier.tuned]
        self._text = text = _TextEncoder(clip.text_model, clip.text_projection, leaves, "text")
        self._vision = vision = _VisionEncoder(
            clip.vision_model, clip.visual_projection, leaves, "vision"
        )
        self.tuned: Sequence[TunedParameter] = classifier.tuned
        """The tuned parameters."""
        self.first_vision_stage = vision.first
        """The number of vision stages that `begin_images` computes; its results depend on it."""
        self.first_text_stage = text.first
        """The number of text stages that `begin_prompts` computes; its results depend on it."""
        self.tunes_vision = vision.first < vision.last
        """Whether anything is tuned in the vision encoder, so that image features change."""
        self.tunes_text = text.first < text.last
        """Whether anything is tuned in the text encoder, so that text features change."""

    @torch.no_grad()
    def begin_prompts(self, input_ids: Tensor) -> Prompts:
        """Find the distinct prefixes of prompts and encode them up to the first tuned stage.

        Args:
            input_ids: (prompts, length) int64.
        """
        clip, device = self.classifier.clip, self.classifier.device
        rows = input_ids.tolist()
        ends = end_positions(rows, clip.config.text_config.eos_token_id)
        prefixes = _Prefixes([row[: end + 1] for row, end in zip(rows, ends, strict=True)])
        embeddings = clip.text_model.embeddings
        hidden = embeddings.token_embedding(torch.tensor(prefixes.tokens, device=device))
        positions = torch.tensor(prefixes.positions, device=device)
        hidden = hidden + embeddings.position_embedding(positions)
        prompts = prefixes.lay_out(hidden)
        with self.classifier.autocast():
            return replace(prompts, hidden=self._text.run(0, self._text.first, hidden, prompts))

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
            return self._vision.run(0, self._vision.first, hidden, None)

    def encode_text(self, prompts: Prompts) -> Tensor:
        """Return unit-length text features, (prompts, dim) float32.

        Args:
            prompts: the result of `begin_prompts`.
        """
        with self.classifier.autocast():
            hidden = self._text.run(self._text.first, self._text.last, prompts.hidden, prompts)
        return self.classifier.unit(hidden)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit-length image features, (images, dim) float32.

        Args:
            images: the result of `begin_images`.
        """
        with self.classifier.autocast():
            hidden = self._vision.run(self._vision.first, self._vision.last, images, None)
        return self.classifier.unit(hidden)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Return scaled cosines; see `FewShotClassifier.logits`."""
        return self.classifier.logits(image_features, text_features)


class _Prefixes:
    """The distinct prefixes of prompts: a tree with one node for each prefix."""

    def __init__(self, prompts: Sequence[Sequence[int]]) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self._firsts: list[tuple[int, int]] = []
        self._paths: list[list[int]] = []
        nodes: dict[tuple[int, int], int] = {}  # by parent and token; the root's parent is -1
        for row, tokens in enumerate(prompts):
            path: list[int] = []
            for position, token in enumerate(tokens):
                node = nodes.setdefault((path[-1] if path else -1, token), len(self.tokens))
                if node == len(self.tokens):
                    self.tokens.append(token)
                    self.positions.append(position)
                    self._firsts.append((row, position))
                path.append(node)
            self._paths.append(path)

    def lay_out(self, hidden: Tensor) -> Prompts:
        device, length = hidden.device, max(map(len, self._paths))
        padded = [path + [0] * (length - len(path)) for path in self._paths]
        return Prompts(
            hidden=hidden,
            prefix_at=torch.tensor(padded, device=device),
            place=torch.tensor([row * length + at for row, at in self._firsts], device=device),
            end=torch.tensor([len(path) - 1 for path in self._paths], device=device),
        )


class _Encoder(Generic[Rows]):
    """The stages of one encoder."""

    def __init__(
        self, tower: Any, projection: nn.Linear, leaves: Sequence[Leaf], encoder: Encoder
    ) -> None:
        self._tower, self._projection = tower, projection
        # CLIP's text encoder has no norm before its blocks.
        self._before: nn.Module = getattr(tower, "pre_layrnorm", nn.Identity())
        self._layers = tower.encoder.layers
        self._heads: int = tower.config.num_attention_heads
        self._activation: str = tower.config.hidden_act
        self.last = 2 * len(self._layers) + 2
        """The number of stages."""
        stages = [self._stage(leaf) for leaf in leaves if leaf.encoder == encoder]
        self.first = min(stages, default=self.last)
        """The first stage with a tuned tensor; the number of stages if nothing is tuned."""

    def _stage(self, leaf: Leaf) -> int:
        """Return the stage that reads a tuned tensor.

        Raises:
            SubsetError: no stage reads it, so that it would silently stay as it is.
        """
        match leaf.row.stage, leaf.layer:
            case "before", None:
                return 0
            case "attention", int(layer):
                return 1 + 2 * layer
            case "mlp", int(layer):
                return 2 + 2 * layer
            case "after", None:
                return self.last - 1
        raise SubsetError(f"the staged pass cannot vary {leaf}: no stage reads it")

    def run(self, start: int, stop: int, hidden: Tensor, rows: Rows) -> Tensor:
        """Apply the stages from ``start`` up to but not including ``stop``."""
        for stage in range(start, stop):
            block, is_mlp = divmod(stage - 1, 2)
            if stage == 0:
                hidden = self._before(hidden)
            elif block == len(self._layers):
                hidden = self._after(hidden)
            elif is_mlp:
                hidden = self._mlp(self._layers[block], hidden)
            else:
                pools = block == len(self._layers) - 1
                hidden = self._attend(self._layers[block], hidden, rows, pools=pools)
        return hidden

    def _mlp(self, layer: Any, hidden: Tensor) -> Tensor:
        """Apply a block's MLP.

        QuickGELU(x) = x·σ(cx) = SiLU(cx)/c. The factor c goes into the LayerNorm and the biases,
        and 1/c into the last sum. So the activation reads the wide rows once, not three times.
        """
        norm, mlp = layer.layer_norm2, layer.mlp
        if self._activation != "quick_gelu":
            return hidden + mlp(norm(hidden))
        c = 1.702
        normed = F.layer_norm(
            hidden, norm.normalized_shape, norm.weight * c, norm.bias * c, norm.eps
        )
        inner = F.silu(F.linear(normed, mlp.fc1.weight, mlp.fc1.bias * c))
        return torch.add(hidden, F.linear(inner, mlp.fc2.weight, mlp.fc2.bias * c), alpha=1 / c)

    def _split(self, projected: Tensor) -> Tensor:
        """Split the heads: (rows, tokens, width) to (rows, heads, tokens, width of a head)."""
        return projected.unflatten(-1, (self._heads, -1)).transpose(1, 2)

    def _attend(self, layer: Any, hidden: Tensor, rows: Rows, *, pools: bool) -> Tensor:
        """Apply a block's attention; with ``pools`` (the last block) for the pooled token alone."""
        raise NotImplementedError

    def _after(self, hidden: Tensor) -> Tensor:
        raise NotImplementedError


class _VisionEncoder(_Encoder[None]):
    """The vision encoder: states (images, tokens, width)."""

    def _attend(self, layer: Any, hidden: Tensor, rows: None, *, pools: bool) -> Tensor:
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        # The first token is CLS, which is pooled.
        query = self._split(attention.q_proj(normed[:, :1] if pools else normed))
        key, value = self._split(attention.k_proj(normed)), self._split(attention.v_proj(normed))
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        residual = hidden[:, :1] if pools else hidden
        return residual + attention.out_proj(attended)

    def _after(self, hidden: Tensor) -> Tensor:
        return self._projection(self._tower.post_layernorm(hidden))[:, 0]


class _TextEncoder(_Encoder[Prompts]):
    """The text encoder: states (prefixes, width); from the last attention on (prompts, width)."""

    def _attend(self, layer: Any, hidden: Tensor, rows: Prompts, *, pools: bool) -> Tensor:
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        # Each prefix is projected once, then copied to its positions in the prompts.
        key = self._split(attention.k_proj(normed)[rows.prefix_at])
        value = self._split(attention.v_proj(normed)[rows.prefix_at])
        if not pools:
            query = self._split(attention.q_proj(normed)[rows.prefix_at])
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            one_each = attended.transpose(1, 2).flatten(2).flatten(0, 1)[rows.place]
            return hidden + attention.out_proj(one_each)
        at_end = rows.prefix_at.gather(1, rows.end.unsqueeze(1)).squeeze(1)
        query = self._split(attention.q_proj(normed[at_end]).unsqueeze(1))
        positions = torch.arange(rows.prefix_at.shape[1], device=hidden.device)
        up_to_end = (positions <= rows.end.unsqueeze(1))[:, None, None]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=up_to_end)
        return hidden[at_end] + attention.out_proj(attended.flatten(1))

    def _after(self, hidden: Tensor) -> Tensor:
        return self._projection(self._tower.final_layer_norm(hidden))
