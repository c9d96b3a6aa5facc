"""Prompts of a trial on their way into a text encoder, up to where something is tuned.

What is frozen gives the same for a prompt at every epoch and in every trial, so it is computed once
a process and kept as long as there is room. Of images see `study.trial.images`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from study.method.evaluation import encode_prompts
from study.method.model import Backbone, FewShotClassifier, Precision
from study.method.packed import PackedClassifiers, Prompts
from study.method.subsets import parse

ROOM = 2**25
"""Numbers that are kept in a process at most: 128 MiB of float32."""

Kept = TypeVar("Kept", Prompts, tuple[Tensor, ...])
_begun: OrderedDict[tuple[object, ...], Any] = OrderedDict()


def begin_prompts(
    packed: PackedClassifiers, backbone: Backbone, input_ids: Sequence[Tensor]
) -> Prompts:
    """Give prompts as `PackedClassifiers.begin_prompts` does."""
    first = packed.classifiers[0]
    what = ("prompts", packed.first_text_stage, first.precision)
    key = _key(*what, backbone=backbone, input_ids=input_ids)
    return _kept(key, lambda: packed.begin_prompts(input_ids))


def class_features(
    packed: PackedClassifiers, backbone: Backbone, input_ids: Sequence[Tensor], templates: int
) -> tuple[Tensor, ...]:
    """Give each classifier's text features of its classes, (classes, dim), in parts that fit."""

    def encode() -> tuple[Tensor, ...]:
        pairs = zip(packed.classifiers, input_ids, strict=True)
        return tuple(encode_prompts(classifier, own, templates) for classifier, own in pairs)

    if packed.tunes_text:
        return encode()
    what = ("classes", templates, packed.classifiers[0].precision)
    return _kept(_key(*what, backbone=backbone, input_ids=input_ids), encode)


@torch.no_grad()
def zero_shot_text(
    backbone: Backbone, input_ids: Sequence[Tensor], precision: Precision
) -> tuple[Tensor, ...]:
    """Give the untouched text encoder's features of each run's prompts, (classes, dim) float32."""

    def encode() -> tuple[Tensor, ...]:
        untouched = FewShotClassifier(backbone, parse("none"), precision=precision)
        packed = PackedClassifiers([untouched] * len(input_ids))
        return packed.encode_text(begin_prompts(packed, backbone, input_ids))

    return _kept(_key("zero-shot", precision, backbone=backbone, input_ids=input_ids), encode)


def forget_begun() -> None:
    """Let go of all that is kept; it is computed again when asked for."""
    _begun.clear()


def _key(*what: object, backbone: Backbone, input_ids: Sequence[Tensor]) -> tuple[object, ...]:
    prompts = tuple((*ids.shape, ids.cpu().numpy().tobytes()) for ids in input_ids)
    return (*what, backbone.fingerprint, str(input_ids[0].device), prompts)


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
