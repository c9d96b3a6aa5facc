"""CLIP's forward pass for several classifiers at once, which computes once what cannot change.

`FewShotClassifier` runs transformers' own code and is the version to read first. This module
computes the same features up to rounding, with less work, for classifiers that tune one subset of
one backbone:

* The rows of all classifiers pass through the frozen weights in one matrix product. Each row gets
  the biases and LayerNorms of its own classifier.
* Below the lowest tuned tensor, an input gives the same states at every step and for every
  classifier. They are computed once, without gradient. If no tensor of an encoder is tuned, the
  whole encoder runs only once.
* Prompts share their beginnings ("a photo of a"). Under the causal mask, a token's state does not
  depend on the tokens after it. So each distinct prefix is encoded once, and nothing after EOT.
* In the last block, only the pooled token (EOT or CLS) has a query and passes through the MLP.

An encoder is a sequence of numbered stages: 0 is the norm before the blocks (the text encoder has
none); each block has two, its attention and its MLP; the last is the final norm and projection.
A *run* is the position of a classifier in the sequence that is packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.method.model import FewShotClassifier
from study.method.prompt_reader import end_positions

Rows = TypeVar("Rows")
QUICK_GELU = 1.702


@dataclass(frozen=True)
class Prompts:
    """The prompts of several classifiers, encoded up to the first tuned stage."""

    hidden: Tensor
    """The states of the prefixes, (prefixes, width); after the last stage (prompts, dim)."""
    prefix_at: Tensor
    """(prompts, length) int64: the prefix that ends at each position; arbitrary after EOT."""
    place: Tensor
    """(prefixes,) int64: the index of each prefix's first occurrence in flattened ``prefix_at``."""
    end: Tensor
    """(prompts,) int64: the position of EOT."""
    run_of_prefix: Tensor
    """(prefixes,) int64: the run that each prefix belongs to."""
    run_of_prompt: Tensor
    """(prompts,) int64: the run that each prompt belongs to."""
    counts: tuple[int, ...]
    """The number of prompts of each run."""


class PackedClassifiers:
    """Several classifiers that encode together; the pack has no parameters of its own.

    Args:
        classifiers: at least one; all have one backbone, one subset and one precision.

    Raises:
        ValueError: there are no classifiers, or they tune different parameters.
    """

    def __init__(self, classifiers: Sequence[FewShotClassifier]) -> None:
        if not classifiers:
            raise ValueError("there are no classifiers to pack")
        names = [[tuned.name for tuned in classifier.tuned] for classifier in classifiers]
        if any(other != names[0] for other in names):
            raise ValueError("classifiers that are packed must tune the same parameters")
        self.classifiers = tuple(classifiers)
        self._text = _TextEncoder(self.classifiers)
        self._vision = _VisionEncoder(self.classifiers)

    @property
    def first_vision_stage(self) -> int:
        """The number of vision stages that `begin_images` computes; its results depend on it."""
        return self._vision.first

    @property
    def first_text_stage(self) -> int:
        """The number of text stages that `begin_prompts` computes; its results depend on it."""
        return self._text.first

    @property
    def tunes_vision(self) -> bool:
        """Whether anything is tuned in the vision encoder, so that image features change."""
        return self._vision.first < self._vision.last

    @property
    def tunes_text(self) -> bool:
        """Whether anything is tuned in the text encoder, so that text features change."""
        return self._text.first < self._text.last

    @torch.no_grad()
    def begin_prompts(self, input_ids: Sequence[Tensor]) -> Prompts:
        """Find the distinct prefixes of prompts and encode them up to the first tuned stage.

        Args:
            input_ids: the prompts of each classifier, (prompts, length) int64.
        """
        first = self.classifiers[0]
        embeddings = first.clip.text_model.embeddings
        eos = first.clip.config.text_config.eos_token_id
        prefixes = _Prefixes()
        for run, ids in enumerate(input_ids):
            rows = ids.tolist()
            for row, end in zip(rows, end_positions(rows, eos), strict=True):
                prefixes.add(run, row[: end + 1])
        prompts = prefixes.lay_out(first.device)
        hidden = embeddings.token_embedding(prefixes.tokens(first.device))
        hidden = hidden + embeddings.position_embedding(prefixes.positions(first.device))
        with first.autocast():
            hidden = self._text.run(0, self._text.first, hidden, prompts)
        return replace(prompts, hidden=hidden)

    @torch.no_grad()
    def begin_images(self, pixel_values: Tensor) -> Tensor:
        """Encode images up to the first tuned stage; the result holds for all classifiers.

        Args:
            pixel_values: (images, 3, size, size) float32, normalised.

        Returns:
            The states of the tokens, (images, tokens, width); after the last stage (images, dim).
        """
        first = self.classifiers[0]
        with first.autocast():
            hidden = first.clip.vision_model.embeddings(pixel_values)
            runs = torch.zeros(len(hidden), 1, dtype=torch.int64, device=hidden.device)
            return self._vision.run(0, self._vision.first, hidden, runs)

    def encode_text(self, prompts: Prompts) -> tuple[Tensor, ...]:
        """Return each classifier's unit-length text features, (prompts, dim) float32.

        Args:
            prompts: the result of `begin_prompts`.
        """
        with self.classifiers[0].autocast():
            hidden = self._text.run(self._text.first, self._text.last, prompts.hidden, prompts)
        return self._unit(hidden).split(prompts.counts)

    def encode_image(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return each classifier's unit-length image features, (images, dim) float32.

        Args:
            images: the images of each classifier, from `begin_images`.
        """
        counts = tuple(len(one) for one in images)
        hidden = torch.cat(list(images)) if len(images) > 1 else images[0]
        # With runs as (images, 1), each image's parameter is (images, 1, width) and broadcasts over
        # the tokens.
        runs = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        runs = runs.to(hidden.device).unsqueeze(1)
        with self.classifiers[0].autocast():
            hidden = self._vision.run(self._vision.first, self._vision.last, hidden, runs)
        return self._unit(hidden).split(counts)

    def _unit(self, features: Tensor) -> Tensor:
        return F.normalize(features.to(self.classifiers[0].clip.logit_scale.dtype), dim=-1)


class _Prefixes:
    """The distinct prefixes of prompts: a tree with one node for each prefix."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], int] = {}
        """The number of each node, by its parent and token; the parent of a root is −1 − run."""
        self._tokens: list[int] = []
        self._positions: list[int] = []
        self._runs: list[int] = []
        self._firsts: list[tuple[int, int]] = []
        self._rows: list[tuple[int, list[int]]] = []

    def add(self, run: int, tokens: Sequence[int]) -> None:
        parent, path = -1 - run, []
        for position, token in enumerate(tokens):
            node = self._nodes.setdefault((parent, token), len(self._tokens))
            if node == len(self._tokens):
                self._tokens.append(token)
                self._positions.append(position)
                self._runs.append(run)
                self._firsts.append((len(self._rows), position))
            path.append(node)
            parent = node
        self._rows.append((run, path))

    def tokens(self, device: torch.device) -> Tensor:
        return torch.tensor(self._tokens, device=device)

    def positions(self, device: torch.device) -> Tensor:
        return torch.tensor(self._positions, device=device)

    def lay_out(self, device: torch.device) -> Prompts:
        length = max(len(path) for _, path in self._rows)
        runs = [run for run, _ in self._rows]
        return Prompts(
            hidden=torch.empty(0, device=device),
            prefix_at=torch.tensor(
                [path + [0] * (length - len(path)) for _, path in self._rows], device=device
            ),
            place=torch.tensor([row * length + at for row, at in self._firsts], device=device),
            end=torch.tensor([len(path) - 1 for _, path in self._rows], device=device),
            run_of_prefix=torch.tensor(self._runs, device=device),
            run_of_prompt=torch.tensor(runs, device=device),
            counts=tuple(runs.count(run) for run in range(max(runs) + 1)),
        )


class _Values:
    """The parameters of each row of a batch: frozen ones are shared, tuned ones differ by run."""

    def __init__(self, tuned: Mapping[int, Sequence[nn.Parameter]]) -> None:
        self._stacked = {key: torch.stack(list(own)) for key, own in tuned.items()}

    def of(self, parameter: Tensor, runs: Tensor) -> Tensor:
        """Return a parameter (width,) that is equal for all rows, or else (*runs.shape, width)."""
        stacked = self._stacked.get(id(parameter))
        if stacked is None:
            return parameter
        return stacked[0] if len(stacked) == 1 else stacked[runs]

    def linear(self, rows: Tensor, layer: nn.Linear, runs: Tensor, scale: float = 1.0) -> Tensor:
        """Apply a linear layer, its bias times ``scale``; the bias may differ from row to row."""
        bias = self.of(layer.bias, runs)
        bias = bias if scale == 1 else bias * scale
        if bias.ndim == 1:
            return F.linear(rows, layer.weight, bias)
        product = F.linear(rows, layer.weight)
        return product + bias.to(product.dtype)

    def norm(self, rows: Tensor, layer: nn.LayerNorm, runs: Tensor, scale: float = 1.0) -> Tensor:
        """Apply a LayerNorm, times ``scale``; its weight and bias may differ from row to row."""
        weight, bias = self.of(layer.weight, runs), self.of(layer.bias, runs)
        weight, bias = (weight, bias) if scale == 1 else (weight * scale, bias * scale)
        if weight.ndim == bias.ndim == 1:
            return F.layer_norm(rows, layer.normalized_shape, weight, bias, layer.eps)
        return F.layer_norm(rows, layer.normalized_shape, eps=layer.eps) * weight + bias


class _Encoder(Generic[Rows]):
    """The stages of one encoder, with the tuned tensors of several classifiers."""

    def __init__(self, classifiers: Sequence[FewShotClassifier], tower: Any, name: str) -> None:
        self._layers = tower.encoder.layers
        self._heads: int = tower.config.num_attention_heads
        self._activation: str = tower.config.hidden_act
        self._tuned: dict[int, list[nn.Parameter]] = {}
        self.last = 2 * len(self._layers) + 2
        """The number of stages."""
        self.first = self.last
        """The first stage with a tuned tensor; the number of stages if nothing is tuned."""
        for index, tuned in enumerate(classifiers[0].tuned):
            tower_name, *path = tuned.name.split(".")
            if tower_name == name:
                own = [classifier.tuned[index].parameter for classifier in classifiers]
                self._tuned[id(tuned.parameter)] = own
                self.first = min(self.first, self._stage(path))

    def _stage(self, path: Sequence[str]) -> int:
        """Return the stage of a parameter, whose path is its name split at the dots."""
        if path[:2] == ["encoder", "layers"]:
            return 1 + 2 * int(path[2]) + (path[3] in ("mlp", "layer_norm2"))
        return 0 if path[0] == "pre_layrnorm" else self.last - 1

    def run(self, start: int, stop: int, hidden: Tensor, rows: Rows) -> Tensor:
        """Apply the stages from ``start`` up to but not including ``stop``."""
        values = _Values(self._tuned)
        for stage in range(start, stop):
            block, is_mlp = divmod(stage - 1, 2)
            pools = block == len(self._layers) - 1
            if stage == 0:
                hidden = self._before(hidden, rows, values)
            elif block == len(self._layers):
                hidden = self._after(hidden, rows, values)
            elif is_mlp:
                runs = self._runs(rows, pooled=pools)
                hidden = self._mlp(self._layers[block], hidden, runs, values)
            else:
                hidden = self._attend(self._layers[block], hidden, rows, values, pools=pools)
        return hidden

    def _mlp(self, layer: Any, hidden: Tensor, runs: Tensor, values: _Values) -> Tensor:
        """Apply a block's MLP.

        QuickGELU(x) = x·σ(cx) = SiLU(cx)/c. The factor c goes into the LayerNorm and the biases,
        and 1/c into the last sum. So the activation reads the wide rows once, not three times.
        """
        quick = self._activation == "quick_gelu"
        c = QUICK_GELU if quick else 1.0
        activate = F.silu if quick else layer.mlp.activation_fn
        normed = values.norm(hidden, layer.layer_norm2, runs, scale=c)
        inner = activate(values.linear(normed, layer.mlp.fc1, runs, scale=c))
        return torch.add(hidden, values.linear(inner, layer.mlp.fc2, runs, scale=c), alpha=1 / c)

    def _split(self, projected: Tensor) -> Tensor:
        """Split the heads: (rows, tokens, width) to (rows, heads, tokens, width of a head)."""
        return projected.unflatten(-1, (self._heads, -1)).transpose(1, 2)

    def _runs(self, rows: Rows, *, pooled: bool) -> Tensor:
        """Return the run of each row of the states, before or after pooling."""
        raise NotImplementedError

    def _before(self, hidden: Tensor, rows: Rows, values: _Values) -> Tensor:
        raise NotImplementedError

    def _attend(
        self, layer: Any, hidden: Tensor, rows: Rows, values: _Values, *, pools: bool
    ) -> Tensor:
        """Apply a block's attention; with ``pools`` (the last block) for the pooled token alone."""
        raise NotImplementedError

    def _after(self, hidden: Tensor, rows: Rows, values: _Values) -> Tensor:
        raise NotImplementedError


class _VisionEncoder(_Encoder[Tensor]):
    """The vision encoder: states (images, tokens, width), and rows (images, 1), their runs."""

    def __init__(self, classifiers: Sequence[FewShotClassifier]) -> None:
        clip: Any = classifiers[0].clip
        super().__init__(classifiers, clip.vision_model, "vision_model")
        self._tower, self._projection = clip.vision_model, clip.visual_projection

    def _runs(self, rows: Tensor, *, pooled: bool) -> Tensor:
        return rows

    def _before(self, hidden: Tensor, rows: Tensor, values: _Values) -> Tensor:
        return values.norm(hidden, self._tower.pre_layrnorm, rows)

    def _attend(
        self, layer: Any, hidden: Tensor, rows: Tensor, values: _Values, *, pools: bool
    ) -> Tensor:
        attention, normed = layer.self_attn, values.norm(hidden, layer.layer_norm1, rows)
        # The first token is CLS, which is pooled.
        queried = normed[:, :1] if pools else normed
        query = self._split(values.linear(queried, attention.q_proj, rows))
        key = self._split(values.linear(normed, attention.k_proj, rows))
        value = self._split(values.linear(normed, attention.v_proj, rows))
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        residual = hidden[:, :1] if pools else hidden
        return residual + values.linear(attended, attention.out_proj, rows)

    def _after(self, hidden: Tensor, rows: Tensor, values: _Values) -> Tensor:
        normed = values.norm(hidden, self._tower.post_layernorm, rows)
        projected: Tensor = self._projection(normed)
        return projected[:, 0]


class _TextEncoder(_Encoder[Prompts]):
    """The text encoder: states (prefixes, width); from the last attention on (prompts, width)."""

    def __init__(self, classifiers: Sequence[FewShotClassifier]) -> None:
        clip: Any = classifiers[0].clip
        super().__init__(classifiers, clip.text_model, "text_model")
        self._tower, self._projection = clip.text_model, clip.text_projection

    def _runs(self, rows: Prompts, *, pooled: bool) -> Tensor:
        return rows.run_of_prompt if pooled else rows.run_of_prefix

    def _before(self, hidden: Tensor, rows: Prompts, values: _Values) -> Tensor:
        return hidden  # CLIP's text encoder has no norm before its blocks

    def _attend(
        self, layer: Any, hidden: Tensor, rows: Prompts, values: _Values, *, pools: bool
    ) -> Tensor:
        attention, runs = layer.self_attn, rows.run_of_prefix
        normed = values.norm(hidden, layer.layer_norm1, runs)
        # Each prefix is projected once, then copied to its positions in the prompts.
        key = self._split(values.linear(normed, attention.k_proj, runs)[rows.prefix_at])
        value = self._split(values.linear(normed, attention.v_proj, runs)[rows.prefix_at])
        if not pools:
            query = self._split(values.linear(normed, attention.q_proj, runs)[rows.prefix_at])
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            one_each = attended.transpose(1, 2).flatten(2).flatten(0, 1)[rows.place]
            return hidden + values.linear(one_each, attention.out_proj, runs)
        at_end = rows.prefix_at.gather(1, rows.end.unsqueeze(1)).squeeze(1)
        runs = rows.run_of_prompt
        query = self._split(values.linear(normed[at_end], attention.q_proj, runs).unsqueeze(1))
        positions = torch.arange(rows.prefix_at.shape[1], device=hidden.device)
        up_to_end = (positions <= rows.end.unsqueeze(1))[:, None, None]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=up_to_end)
        return hidden[at_end] + values.linear(attended.flatten(1), attention.out_proj, runs)

    def _after(self, hidden: Tensor, rows: Prompts, values: _Values) -> Tensor:
        normed = values.norm(hidden, self._tower.final_layer_norm, rows.run_of_prompt)
        projected: Tensor = self._projection(normed)
        return projected
