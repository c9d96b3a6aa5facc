"""CLIP's forward pass for several classifiers at once, and nothing in it that cannot have changed.

`FewShotClassifier` is the reading version, transformers' own code. What stands here gives the same
features up to rounding, with less work, for classifiers that tune one subset of one backbone:

* The rows of all of them go through the frozen weights in one product; biases and LayerNorms are
  picked for each row.
* What lies below the lowest tuned tensor is the same at every step and for every classifier, so it
  is computed once, without gradient. Where nothing is tuned that is the whole encoder.
* Prompts share their beginnings ("a photo of a"). Under the causal mask a token's state depends on
  what stands before it alone, so each distinct prefix is encoded once, and nothing after EOT.
* In the last block only the token that is pooled (EOT, CLS) asks and passes through the MLP.

An encoder is a row of stages: the norm before the blocks (vision), then of each block its attention
and its MLP, then pooling, last norm and projection.
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
    """The prompts of several classifiers, encoded as far as nothing is tuned."""

    hidden: Tensor
    """(prefixes, width); after the last stage (prompts, dim)."""
    prefix_at: Tensor
    """(prompts, length) int64: the prefix that ends at each position; after EOT any."""
    place: Tensor
    """(prefixes,) int64: where in the flattened ``prefix_at`` a prefix stands first."""
    end: Tensor
    """(prompts,) int64: position of EOT."""
    run_of_prefix: Tensor
    """(prefixes,) int64: which classifier's it is."""
    run_of_prompt: Tensor
    """(prompts,) int64."""
    counts: tuple[int, ...]
    """Prompts of each classifier."""


class PackedClassifiers:
    """Encodes for several classifiers at once; it holds no parameters of its own.

    Args:
        classifiers: of one backbone, one subset and one precision.

    Raises:
        ValueError: there are none, or they tune different parameters.
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
        """Stages of the vision encoder that `begin_images` has behind it: equal for equal work."""
        return self._vision.first

    @property
    def first_text_stage(self) -> int:
        """Stages of the text encoder that `begin_prompts` has behind it: equal for equal work."""
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
        """Lay prompts out and encode them as far as nothing is tuned.

        Args:
            input_ids: each classifier's, (prompts, length) int64.
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
        """Encode images as far as nothing is tuned, the same for all classifiers.

        Args:
            pixel_values: (images, 3, size, size), normalised.

        Returns:
            (images, tokens, width); after the last stage (images, dim).
        """
        first = self.classifiers[0]
        with first.autocast():
            hidden = first.clip.vision_model.embeddings(pixel_values)
            runs = torch.zeros(len(hidden), 1, dtype=torch.int64, device=hidden.device)
            return self._vision.run(0, self._vision.first, hidden, runs)

    def encode_text(self, prompts: Prompts) -> tuple[Tensor, ...]:
        """Give each classifier's unit-length text features, (prompts, dim) float32."""
        with self.classifiers[0].autocast():
            hidden = self._text.run(self._text.first, self._text.last, prompts.hidden, prompts)
        return self._unit(hidden).split(prompts.counts)

    def encode_image(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Give each classifier's unit-length image features, (images, dim) float32.

        Args:
            images: each classifier's, from `begin_images`.
        """
        counts = tuple(len(one) for one in images)
        hidden = torch.cat(list(images)) if len(images) > 1 else images[0]
        # (images, 1), so that a picked parameter is (images, 1, width) beside (…, tokens, width).
        runs = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        runs = runs.to(hidden.device).unsqueeze(1)
        with self.classifiers[0].autocast():
            hidden = self._vision.run(self._vision.first, self._vision.last, hidden, runs)
        return self._unit(hidden).split(counts)

    def _unit(self, features: Tensor) -> Tensor:
        return F.normalize(features.to(self.classifiers[0].clip.logit_scale.dtype), dim=-1)


class _Prefixes:
    """The distinct beginnings of prompts: a tree with a node for each."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], int] = {}
        """(parent or −1 − run, token) to the node's number."""
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
    """Parameters as the rows of a batch see them: frozen ones shared, tuned ones each run's own."""

    def __init__(self, tuned: Mapping[int, Sequence[nn.Parameter]]) -> None:
        self._stacked = {key: torch.stack(list(own)) for key, own in tuned.items()}

    def of(self, parameter: Tensor, runs: Tensor) -> Tensor:
        """Give a parameter, (width,), or where runs have their own, (*runs.shape, width)."""
        stacked = self._stacked.get(id(parameter))
        if stacked is None:
            return parameter
        return stacked[0] if len(stacked) == 1 else stacked[runs]

    def linear(self, rows: Tensor, layer: nn.Linear, runs: Tensor, scale: float = 1.0) -> Tensor:
        """Apply a layer whose bias, times ``scale``, may differ from row to row."""
        bias = self.of(layer.bias, runs)
        bias = bias if scale == 1 else bias * scale
        if bias.ndim == 1:
            return F.linear(rows, layer.weight, bias)
        product = F.linear(rows, layer.weight)
        return product + bias.to(product.dtype)

    def norm(self, rows: Tensor, layer: nn.LayerNorm, runs: Tensor, scale: float = 1.0) -> Tensor:
        """Apply a LayerNorm, times ``scale``, whose weight and bias may differ from row to row."""
        weight, bias = self.of(layer.weight, runs), self.of(layer.bias, runs)
        weight, bias = (weight, bias) if scale == 1 else (weight * scale, bias * scale)
        if weight.ndim == bias.ndim == 1:
            return F.layer_norm(rows, layer.normalized_shape, weight, bias, layer.eps)
        return F.layer_norm(rows, layer.normalized_shape, eps=layer.eps) * weight + bias


class _Encoder(Generic[Rows]):
    """One encoder's stages, with the tuned tensors of several classifiers."""

    def __init__(self, classifiers: Sequence[FewShotClassifier], tower: Any, name: str) -> None:
        self._layers = tower.encoder.layers
        self._heads: int = tower.config.num_attention_heads
        self._activation: str = tower.config.hidden_act
        self._tuned: dict[int, list[nn.Parameter]] = {}
        self.last = 2 * len(self._layers) + 2
        """The number of stages."""
        self.first = self.last
        """The first stage that something is tuned in; the last's end where nothing is."""
        for index, tuned in enumerate(classifiers[0].tuned):
            tower_name, *path = tuned.name.split(".")
            if tower_name == name:
                own = [classifier.tuned[index].parameter for classifier in classifiers]
                self._tuned[id(tuned.parameter)] = own
                self.first = min(self.first, self._stage(path))

    def _stage(self, path: Sequence[str]) -> int:
        """Give the stage that a parameter acts in."""
        if path[:2] == ["encoder", "layers"]:
            return 1 + 2 * int(path[2]) + (path[3] in ("mlp", "layer_norm2"))
        return 0 if path[0] == "pre_layrnorm" else self.last - 1

    def run(self, start: int, stop: int, hidden: Tensor, rows: Rows) -> Tensor:
        """Pass from the end of stage ``start`` − 1 to the end of stage ``stop`` − 1."""
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
        """Pass a block's MLP.

        QuickGELU(x) = x·σ(cx) is SiLU(cx)/c. With c in the small tensors before it and 1/c in the
        sum after it, the wide rows between are passed over once instead of three times.
        """
        quick = self._activation == "quick_gelu"
        c = QUICK_GELU if quick else 1.0
        activate = F.silu if quick else layer.mlp.activation_fn
        normed = values.norm(hidden, layer.layer_norm2, runs, scale=c)
        inner = activate(values.linear(normed, layer.mlp.fc1, runs, scale=c))
        return torch.add(hidden, values.linear(inner, layer.mlp.fc2, runs, scale=c), alpha=1 / c)

    def _split(self, projected: Tensor) -> Tensor:
        """(rows, tokens, width) to (rows, heads, tokens, width of a head)."""
        return projected.unflatten(-1, (self._heads, -1)).transpose(1, 2)

    def _runs(self, rows: Rows, *, pooled: bool) -> Tensor:
        """Give the run of each row of what is passed."""
        raise NotImplementedError

    def _before(self, hidden: Tensor, rows: Rows, values: _Values) -> Tensor:
        raise NotImplementedError

    def _attend(
        self, layer: Any, hidden: Tensor, rows: Rows, values: _Values, *, pools: bool
    ) -> Tensor:
        """Pass a block's attention; in the last block for the pooled token alone."""
        raise NotImplementedError

    def _after(self, hidden: Tensor, rows: Rows, values: _Values) -> Tensor:
        raise NotImplementedError


class _VisionEncoder(_Encoder[Tensor]):
    """Images as (images, tokens, width); rows are the run of each image, (images, 1)."""

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
        asking = normed[:, :1] if pools else normed
        query = self._split(values.linear(asking, attention.q_proj, rows))
        key = self._split(values.linear(normed, attention.k_proj, rows))
        value = self._split(values.linear(normed, attention.v_proj, rows))
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        kept = hidden[:, :1] if pools else hidden
        return kept + values.linear(seen, attention.out_proj, rows)

    def _after(self, hidden: Tensor, rows: Tensor, values: _Values) -> Tensor:
        normed = values.norm(hidden, self._tower.post_layernorm, rows)
        projected: Tensor = self._projection(normed)
        return projected[:, 0]


class _TextEncoder(_Encoder[Prompts]):
    """Prefixes as (prefixes, width); from the last attention on prompts as (prompts, width)."""

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
        # Projected once a prefix, then laid out as the prompts they stand in.
        key = self._split(values.linear(normed, attention.k_proj, runs)[rows.prefix_at])
        value = self._split(values.linear(normed, attention.v_proj, runs)[rows.prefix_at])
        if not pools:
            query = self._split(values.linear(normed, attention.q_proj, runs)[rows.prefix_at])
            seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            one_each = seen.transpose(1, 2).flatten(2).flatten(0, 1)[rows.place]
            return hidden + values.linear(one_each, attention.out_proj, runs)
        at_end = rows.prefix_at.gather(1, rows.end.unsqueeze(1)).squeeze(1)
        runs = rows.run_of_prompt
        query = self._split(values.linear(normed[at_end], attention.q_proj, runs).unsqueeze(1))
        positions = torch.arange(rows.prefix_at.shape[1], device=hidden.device)
        before_end = (positions <= rows.end.unsqueeze(1))[:, None, None]
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=before_end)
        return hidden[at_end] + values.linear(seen.flatten(1), attention.out_proj, runs)

    def _after(self, hidden: Tensor, rows: Prompts, values: _Values) -> Tensor:
        normed = values.norm(hidden, self._tower.final_layer_norm, rows.run_of_prompt)
        projected: Tensor = self._projection(normed)
        return projected
