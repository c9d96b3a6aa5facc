"""A cache for prompts that passed the stages of a text encoder below the lowest tuned one.

Frozen stages return the same for a prompt in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the encoder is tuned, its
features are computed once for all processes, see `study.trial.feature_cache`. The counterpart for
images is `study.trial.image_activations`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from study.method.evaluation import encode_prompts
from study.method.model import Backbone, FewShotClassifier
from study.method.recipe import Precision
from study.method.staged import Prompts, StagedClassifier
from study.method.subsets import parse
from study.trial.feature_cache import cached_features

ROOM = 2**25
"""The most numbers that a process keeps: 128 MiB of float32."""

Kept = TypeVar("Kept", Prompts, Tensor)
_cache: OrderedDict[tuple[object, ...], Any] = OrderedDict()


def begin_prompts(
    staged: StagedClassifier, backbone: Backbone, input_ids: Tensor, folder: Path
) -> Prompts:
    """Return what `StagedClassifier.begin_prompts` returns, from a cache if possible.

    Args:
        staged: the classifier that encodes the prompts.
        backbone: the backbone of the classifier.
        input_ids: the token ids of the prompts, (prompts, length) int64.
        folder: the folder of the feature cache, see `cached_features`.
    """
    precision = staged.classifier.precision

    def compute() -> Prompts:
        return staged.begin_prompts(input_ids)

    def read_or_compute() -> Prompts:
        what = {"what": "prompts", "prompts": _digest(input_ids)}
        return Prompts(
            **cached_features(folder, what, backbone, precision, lambda: vars(compute()))
        )

    key = _key(
        "prompts", staged.first_text_stage, precision, backbone=backbone, input_ids=input_ids
    )
    return _cached(key, compute if staged.tunes_text else read_or_compute)


def class_features(
    staged: StagedClassifier, backbone: Backbone, input_ids: Tensor, templates: int, folder: Path
) -> Tensor:
    """Return the text features of classes, (classes, dim) float32.

    They are computed in parts that fit into memory.

    Args:
        staged: the classifier that encodes the prompts.
        backbone: the backbone of the classifier.
        input_ids: the token ids of the prompts, (classes · templates, length) int64; the rows of
            one class stand together.
        templates: the number of prompts per class, whose features are averaged.
        folder: the folder of the feature cache, see `cached_features`.
    """
    classifier = staged.classifier

    def encode() -> Tensor:
        return encode_prompts(classifier, input_ids, templates)

    def read_or_encode() -> Tensor:
        what = {"what": f"classes by {templates} templates", "prompts": _digest(input_ids)}
        return cached_features(
            folder, what, backbone, classifier.precision, lambda: {"features": encode()}
        )["features"]

    if staged.tunes_text:
        return encode()
    key = _key("classes", templates, classifier.precision, backbone=backbone, input_ids=input_ids)
    return _cached(key, read_or_encode)


@torch.no_grad()
def zero_shot_text(
    backbone: Backbone, input_ids: Tensor, precision: Precision, folder: Path
) -> Tensor:
    """Return the untuned text encoder's features of prompts, (classes, dim) float32.

    Args:
        backbone: the backbone, which holds the untuned text encoder.
        input_ids: the token ids of the prompts, (classes, length) int64.
        precision: the precision of the encoder.
        folder: the folder of the feature cache, see `cached_features`.
    """

    def encode() -> Tensor:
        staged = StagedClassifier(FewShotClassifier(backbone, parse("none"), precision=precision))
        return staged.encode_text(begin_prompts(staged, backbone, input_ids, folder))

    return _cached(_key("zero-shot", precision, backbone=backbone, input_ids=input_ids), encode)


def clear_cache() -> None:
    """Drop all cached activations; they are computed again when needed."""
    _cache.clear()


def _key(*what: object, backbone: Backbone, input_ids: Tensor) -> tuple[object, ...]:
    return (*what, backbone.fingerprint, str(input_ids.device), _digest(input_ids))


def _digest(input_ids: Tensor) -> str:
    digest = hashlib.sha256(f"{tuple(input_ids.shape)}".encode())
    digest.update(input_ids.cpu().numpy().tobytes())
    return digest.hexdigest()


def _cached(key: tuple[object, ...], compute: Callable[[], Kept]) -> Kept:
    if key not in _cache:
        _cache[key] = compute()
    _cache.move_to_end(key)
    found: Kept = _cache[key]
    while sum(map(_size, _cache.values())) > ROOM:
        _cache.popitem(last=False)
    return found


def _size(kept: Prompts | Tensor) -> int:
    tensors = (kept.hidden, kept.prefix_at) if isinstance(kept, Prompts) else (kept,)
    return sum(tensor.numel() for tensor in tensors)
