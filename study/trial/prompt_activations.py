"""Prompts that passed the stages of the text encoder below the lowest tuned one, and text features.

Frozen stages return the same for a prompt in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the encoder is tuned, its
features are stored on disk as well.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.delta import Tensors
from study.method.model import PROMPTS_AT_ONCE, FewShotClassifier, encode_prompts
from study.method.peer_model import ForwardPass, PlainPass
from study.method.recipe import Precision
from study.method.staged import Prompts, StagedClassifier
from study.storage.atomic import sha256_of
from study.trial.feature_cache import Cache, cached_features

PROMPTS = Cache(2**25)
"""128 MiB of float32 for prompts."""


def begin_prompts(model: ForwardPass, input_ids: Tensor, folder: Path) -> Any:
    """Return what a model's own `begin_prompts` returns, from a cache if possible.

    Args:
        model: the classifier that encodes the prompts.
        input_ids: the token ids of the prompts, (prompts, length) int64.
        folder: the folder of the feature cache, see `cached_features`.
    """
    if isinstance(model, PlainPass):
        return model.begin_prompts(input_ids)
    what = "prompts"
    disk_folder: Path | None = folder
    if model.text.is_tuned:
        what = f"prompts up to stage {model.text.first}"
        disk_folder = None

    def begin() -> Tensors:
        return vars(model.begin_prompts(input_ids))

    precision = model.classifier.precision
    backbone = model.classifier.backbone
    return Prompts(**_from_cache(what, precision, backbone, input_ids, disk_folder, begin))


def class_features(model: ForwardPass, input_ids: Tensor, templates: int, folder: Path) -> Tensor:
    """Return the text features of classes, (classes, dim) float32.

    If there are too many prompts for one pass through the encoder, they are encoded in parts.

    Args:
        model: the classifier that encodes the prompts.
        input_ids: the token ids of the prompts, (classes · templates, length) int64; the rows of
            one class stand together.
        templates: the number of prompts per class, whose features are averaged.
        folder: the folder of the feature cache, see `cached_features`.
    """
    if templates == 1 and len(input_ids) <= PROMPTS_AT_ONCE:
        return model.encode_text(begin_prompts(model, input_ids, folder))
    classifier = model.classifier
    if isinstance(model, PlainPass) or model.text.is_tuned:
        return encode_prompts(classifier, input_ids, templates)
    what = f"classes by {templates} templates"

    def encode() -> Tensors:
        return {"features": encode_prompts(classifier, input_ids, templates)}

    precision = classifier.precision
    backbone = classifier.backbone
    return _from_cache(what, precision, backbone, input_ids, folder, encode)["features"]


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

    def encode() -> Tensors:
        staged = StagedClassifier(FewShotClassifier(backbone, precision=precision))
        return {"features": staged.encode_text(begin_prompts(staged, input_ids, folder))}

    return _from_cache("zero-shot", precision, backbone, input_ids, None, encode)["features"]


def _from_cache(
    what: str,
    precision: Precision,
    backbone: Backbone,
    input_ids: Tensor,
    folder: Path | None,
    compute: Callable[[], Tensors],
) -> Tensors:
    """Return the tensors that `compute` returns for prompts, from a cache if possible.

    Args:
        what: a name for these tensors.
        precision: the precision of the encoder.
        backbone: the backbone.
        input_ids: the token ids of the prompts.
        folder: the folder of the feature cache; None means that they are kept in memory alone.
        compute: a function that returns the tensors.
    """
    shape = tuple(input_ids.shape)
    device = str(input_ids.device)
    digest = sha256_of(f"{shape}".encode() + input_ids.cpu().numpy().tobytes())

    if folder:
        identity = {"what": what, "prompts": digest}
        compute = partial(cached_features, folder, identity, backbone, precision, compute)
    key = (what, precision, backbone.state, digest, device)
    return PROMPTS.get(key, compute)
