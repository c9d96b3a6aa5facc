"""Images and prompts that passed the stages below the lowest tuned one, and text features.

Frozen stages return the same for an input in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the text encoder is tuned, its
features are stored on disk as well; so are those of images, and their states before the projection
if that alone is tuned. Activations inside the image encoder are far larger. For a method that may
tune every stage, images are kept as normalised pixels.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.data.images.table import ImageTable, normalize, to_device
from study.data.records import ImagePaths, in_chunks
from study.method.delta import Tensors
from study.method.model import PROMPTS_AT_ONCE, FewShotClassifier, encode_prompts
from study.method.plain_pass import ForwardPass, PlainPass
from study.method.staged import Prompts, StagedClassifier
from study.storage.atomic import sha256_of
from study.trial.feature_cache import Cache, Compute, cached_features

CHUNK = 64
"""The number of images that are encoded at once."""
IMAGES = Cache(2**27)
"""Half a gigabyte of float32 for images; an empty result stands for a table that does not fit."""
PROMPTS = Cache(2**25)
"""128 MiB of float32 for prompts."""

open_table = cache(ImageTable)
"""Open an image table once per process; it is a read-only memory map."""


def begin_images(model: ForwardPass, path: Path, paths: ImagePaths) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, from a cache.

    The whole table is encoded in chunks of a fixed size, so that an image's activations do not
    depend on the other images of a call. If it does not fit into the cache, only the images of the
    call are encoded.

    Args:
        model: the classifier; its lowest tuned stage is where the activations end.
        path: the image table; its images are square.
        paths: the paths of the images in the table.
    """
    table = open_table(path)
    classifier = model.classifier
    device = classifier.device
    stage: int | str = "pixels"
    if isinstance(model, StagedClassifier):
        stage = model.vision.first
    key = (path, classifier.backbone.state, classifier.precision, str(device), stage)
    whole_table = IMAGES.get(key, partial(_begin_table, model, table))
    if not whole_table:
        return begin_uncached(model, table, paths)
    return whole_table["features"][torch.tensor(table.rows(paths), device=device)]


def _begin_table(model: ForwardPass, table: ImageTable) -> Tensors:
    """Return all images of a table, begun; no tensor if they do not fit into the cache."""
    chunks = (begin_uncached(model, table, paths) for paths in in_chunks(table.paths, CHUNK))
    if isinstance(model, PlainPass) or not model.images_are_frozen:
        first = next(chunks)
        if first[0].numel() * len(table.paths) > IMAGES.capacity:
            return {}
        return {"features": torch.cat([first, *chunks])}
    classifier = model.classifier
    backbone = classifier.backbone
    what, size = "features of images", backbone.dim
    if model.vision.first == model.vision.projection:
        what = "states of images before the projection"
        size = backbone.clip.config.vision_config.hidden_size
    if len(table.paths) * size > IMAGES.capacity:
        return {}

    def encode_table() -> Tensors:
        return {"features": torch.cat(list(chunks))}

    identity = {"what": what, "images": table.content_hash}
    return cached_features(table.path.parent, identity, classifier, encode_table)


def begin_uncached(model: ForwardPass, table: ImageTable, paths: ImagePaths) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, without a cache."""
    backbone = model.classifier.backbone
    pixels = to_device(table.pixels(paths), model.classifier.device)
    return model.begin_images(normalize(pixels, backbone.image_mean, backbone.image_std))


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

    return Prompts(**_from_cache(what, model.classifier, input_ids, disk_folder, begin))


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

    return _from_cache(what, classifier, input_ids, folder, encode)["features"]


@torch.no_grad()
def zero_shot_text(classifier: FewShotClassifier, input_ids: Tensor, folder: Path) -> Tensor:
    """Return the features of prompts by the untuned text encoder, (classes, dim) float32.

    Args:
        classifier: a classifier of the backbone, in the precision of the encoder.
        input_ids: the token ids of the prompts, (classes, length) int64.
        folder: the folder of the feature cache, see `cached_features`.
    """

    def encode() -> Tensors:
        untuned = FewShotClassifier(classifier.backbone, precision=classifier.precision)
        staged = StagedClassifier(untuned)
        return {"features": staged.encode_text(begin_prompts(staged, input_ids, folder))}

    # To copy the modules of a CLIP takes longer than to encode prompts from the cache.
    return _from_cache("zero-shot", classifier, input_ids, None, encode)["features"]


def _from_cache(
    what: str,
    classifier: FewShotClassifier,
    input_ids: Tensor,
    folder: Path | None,
    compute: Compute,
) -> Tensors:
    """Return the tensors that `compute` returns for prompts, from a cache if possible.

    Args:
        what: a name for these tensors.
        classifier: the classifier that computes them, by its backbone and its precision.
        input_ids: the token ids of the prompts.
        folder: the folder of the feature cache; None means that they are kept in memory alone.
        compute: a function that returns the tensors.
    """
    shape = tuple(input_ids.shape)
    device = str(input_ids.device)
    digest = sha256_of(f"{shape}".encode() + input_ids.cpu().numpy().tobytes())
    if folder:
        identity = {"what": what, "prompts": digest}
        compute = partial(cached_features, folder, identity, classifier, compute)
    key = (what, classifier.precision, classifier.backbone.state, digest, device)
    return PROMPTS.get(key, compute)
