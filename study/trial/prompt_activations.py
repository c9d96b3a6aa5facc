"""A cache for prompts that passed the stages of a text encoder below the lowest tuned one.

Frozen stages return the same for a prompt in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the encoder is tuned, its
features are computed once for all processes, see `study.trial.feature_cache`. The counterpart for
images is `study.trial.image_activations`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from study.method.evaluation import encode_prompts
from study.method.model import Backbone, FewShotClassifier
from study.method.packed import PackedClassifiers, Prompts
from study.method.recipe import Precision
from study.method.subsets import parse
from study.trial.feature_cache import cached_features

ROOM = 2**25
"""The most numbers that a process keeps: 128 MiB of float32."""

Kept = TypeVar("Kept", Prompts, tuple[Tensor, ...])
_cache: OrderedDict[tuple[object, ...], Any] = OrderedDict()


def begin_prompts(
    packed: PackedClassifiers, backbone: Backbone, input_ids: Sequence[Tensor], folder: Path
) -> Prompts:
    """Return what `PackedClassifiers.begin_prompts` returns, from a cache if possible.

    Args:
        packed: the classifiers that encode the prompts.
        backbone: the backbone of the classifiers.
        input_ids: the token ids of each classifier's prompts, (prompts, length) int64.
        folder: the folder of the feature cache, see `cached_features`.
    """
    precision = packed.classifiers[0].precision

    def compute() -> Prompts:
        return packed.begin_prompts(input_ids)

    def read_or_compute() -> Prompts:
        what = {"what": "prompts", "prompts": _digest(input_ids)}
        found = cached_features(folder, what, backbone, precision, lambda: _as_tensors(compute()))
        values: dict[str, Any] = {**found, "counts": tuple(found["counts"].tolist())}
        return Prompts(**values)

    key = _key(
        "prompts", packed.first_text_stage, precision, backbone=backbone, input_ids=input_ids
    )
    return _cached(key, compute if packed.tunes_text else read_or_compute)


def class_features(
    packed: PackedClassifiers,
    backbone: Backbone,
    input_ids: Sequence[Tensor],
    templates: int,
    folder: Path,
) -> tuple[Tensor, ...]:
    """Return each classifier's text features of its classes, (classes, dim) float32.

    They are computed in parts that fit into memory.

    Args:
        packed: the classifiers that encode the prompts.
        backbone: the backbone of the classifiers.
        input_ids: the token ids of each classifier's prompts, (classes · templates, length) int64;
            the rows of one class stand together.
        templates: the number of prompts per class, whose features are averaged.
        folder: the folder of the feature cache, see `cached_features`.
    """
    precision = packed.classifiers[0].precision

    def encode() -> tuple[Tensor, ...]:
        pairs = zip(packed.classifiers, input_ids, strict=True)
        return tuple(encode_prompts(classifier, own, templates) for classifier, own in pairs)

    def read_or_encode() -> tuple[Tensor, ...]:
        what = {"what": f"classes by {templates} templates", "prompts": _digest(input_ids)}
        found = cached_features(folder, what, backbone, precision, lambda: _numbered(encode()))
        return tuple(found[str(run)] for run in range(len(input_ids)))

    if packed.tunes_text:
        return encode()
    key = _key("classes", templates, precision, backbone=backbone, input_ids=input_ids)
    return _cached(key, read_or_encode)


@torch.no_grad()
def zero_shot_text(
    backbone: Backbone, input_ids: Sequence[Tensor], precision: Precision, folder: Path
) -> tuple[Tensor, ...]:
    """Return the untuned text encoder's features of each run's prompts, (classes, dim) float32.

    Args:
        backbone: the backbone, which holds the untuned text encoder.
        input_ids: the token ids of each run's prompts, (classes, length) int64.
        precision: the precision of the encoder.
        folder: the folder of the feature cache, see `cached_features`.
    """

    def encode() -> tuple[Tensor, ...]:
        untuned = FewShotClassifier(backbone, parse("none"), precision=precision)
        packed = PackedClassifiers([untuned] * len(input_ids))
        return packed.encode_text(begin_prompts(packed, backbone, input_ids, folder))

    return _cached(_key("zero-shot", precision, backbone=backbone, input_ids=input_ids), encode)


def clear_cache() -> None:
    """Drop all cached activations; they are computed again when needed."""
    _cache.clear()


def _key(*what: object, backbone: Backbone, input_ids: Sequence[Tensor]) -> tuple[object, ...]:
    return (*what, backbone.fingerprint, str(input_ids[0].device), _digest(input_ids))


def _digest(input_ids: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for ids in input_ids:
        digest.update(f"{tuple(ids.shape)}".encode())
        digest.update(ids.cpu().numpy().tobytes())
    return digest.hexdigest()


def _as_tensors(prompts: Prompts) -> dict[str, Tensor]:
    tensors = {field.name: getattr(prompts, field.name) for field in fields(prompts)}
    return {**tensors, "counts": torch.tensor(prompts.counts)}


def _numbered(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    return {str(number): tensor for number, tensor in enumerate(tensors)}


def _cached(key: tuple[object, ...], compute: Callable[[], Kept]) -> Kept:
    if key not in _cache:
        _cache[key] = compute()
    _cache.move_to_end(key)
    found: Kept = _cache[key]
    while sum(map(_size, _cache.values())) > ROOM:
        _cache.popitem(last=False)
    return found


def _size(kept: Prompts | tuple[Tensor, ...]) -> int:
    tensors = (kept.hidden, kept.prefix_at) if isinstance(kept, Prompts) else kept
    return sum(tensor.numel() for tensor in tensors)
