"""Prompts of a trial on their way into a text encoder, up to where something is tuned.

What is frozen gives the same for a prompt at every epoch and in every trial, so it is computed once
a process and kept as long as there is room; the features of an encoder in which nothing is tuned,
once for all processes. Of images see `study.trial.image_activations`.
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
from study.method.model import Backbone, FewShotClassifier, Precision
from study.method.packed import PackedClassifiers, Prompts
from study.method.subsets import parse
from study.trial.feature_cache import cached_features

ROOM = 2**25
"""Numbers that are kept in a process at most: 128 MiB of float32."""

Kept = TypeVar("Kept", Prompts, tuple[Tensor, ...])
_begun: OrderedDict[tuple[object, ...], Any] = OrderedDict()


def begin_prompts(
    packed: PackedClassifiers, backbone: Backbone, input_ids: Sequence[Tensor], folder: Path
) -> Prompts:
    """Give prompts as `PackedClassifiers.begin_prompts` does; see `once` for the folder."""
    precision = packed.classifiers[0].precision

    def begin() -> Prompts:
        return packed.begin_prompts(input_ids)

    def begin_once() -> Prompts:
        what = {"what": "prompts", "prompts": _digest(input_ids)}
        found = cached_features(folder, what, backbone, precision, lambda: _as_tensors(begin()))
        values: dict[str, Any] = {**found, "counts": tuple(found["counts"].tolist())}
        return Prompts(**values)

    key = _key("prompts", packed.first_text_stage, precision, backbone=backbone, of=input_ids)
    return _kept(key, begin if packed.tunes_text else begin_once)


def class_features(
    packed: PackedClassifiers,
    backbone: Backbone,
    input_ids: Sequence[Tensor],
    templates: int,
    folder: Path,
) -> tuple[Tensor, ...]:
    """Give each classifier's text features of its classes, (classes, dim), in parts that fit.

    See `once` for the folder.
    """
    precision = packed.classifiers[0].precision

    def encode() -> tuple[Tensor, ...]:
        pairs = zip(packed.classifiers, input_ids, strict=True)
        return tuple(encode_prompts(classifier, own, templates) for classifier, own in pairs)

    def encode_once() -> tuple[Tensor, ...]:
        what = {"what": f"classes by {templates} templates", "prompts": _digest(input_ids)}
        found = cached_features(folder, what, backbone, precision, lambda: _numbered(encode()))
        return tuple(found[str(run)] for run in range(len(input_ids)))

    if packed.tunes_text:
        return encode()
    key = _key("classes", templates, precision, backbone=backbone, of=input_ids)
    return _kept(key, encode_once)


@torch.no_grad()
def zero_shot_text(
    backbone: Backbone, input_ids: Sequence[Tensor], precision: Precision, folder: Path
) -> tuple[Tensor, ...]:
    """Give the untouched text encoder's features of each run's prompts, (classes, dim) float32.

    See `once` for the folder.
    """

    def encode() -> tuple[Tensor, ...]:
        untouched = FewShotClassifier(backbone, parse("none"), precision=precision)
        packed = PackedClassifiers([untouched] * len(input_ids))
        return packed.encode_text(begin_prompts(packed, backbone, input_ids, folder))

    return _kept(_key("zero-shot", precision, backbone=backbone, of=input_ids), encode)


def clear_cache() -> None:
    """Let go of all that is kept; it is computed again when asked for."""
    _begun.clear()


def _key(*what: object, backbone: Backbone, of: Sequence[Tensor]) -> tuple[object, ...]:
    return (*what, backbone.fingerprint, str(of[0].device), _digest(of))


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


def _kept(key: tuple[object, ...], compute: Callable[[], Kept]) -> Kept:
    if key not in _begun:
        _begun[key] = compute()
    _begun.move_to_end(key)
    found: Kept = _begun[key]
    while sum(map(_numbers, _begun.values())) > ROOM:
        _begun.popitem(last=False)
    return found


def _numbers(kept: Prompts | tuple[Tensor, ...]) -> int:
    tensors = (kept.hidden, kept.prefix_at) if isinstance(kept, Prompts) else kept
    return sum(tensor.numel() for tensor in tensors)
