"""Images that passed the stages of the image encoder below the lowest tuned one.

Frozen stages return the same for an image in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the encoder is tuned, or its
projection alone, the result of all stages before that is stored on disk as well. Activations inside
an encoder are far larger. For a peer that may tune every stage, images are kept as normalised
pixels.
"""

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from study.data.images.table import ImageTable, normalize, to_device
from study.data.records import ImagePaths, in_chunks
from study.method.delta import Tensors
from study.method.peer_model import ForwardPass, PlainPass
from study.method.staged import StagedClassifier
from study.trial.feature_cache import Cache, cached_features

CHUNK = 64
"""The number of images that are encoded at once."""
IMAGES = Cache(2**27)
"""Half a gigabyte of float32 for images; an empty result stands for a table that does not fit."""

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
    if isinstance(model, PlainPass) or not model.images_are_frozen:
        chunks = _begin_chunks(model, table)
        first = next(chunks)
        if first[0].numel() * len(table.paths) > IMAGES.room:
            return {}
        return {"features": torch.cat([first, *chunks])}
    backbone = model.classifier.backbone
    what = "features of images"
    size = backbone.dim
    if model.vision.first == model.vision.projection:
        what = "states of images before the projection"
        size = backbone.clip.config.vision_config.hidden_size
    if len(table.paths) * size > IMAGES.room:
        return {}

    def encode_table() -> Tensors:
        return {"features": torch.cat(list(_begin_chunks(model, table)))}

    identity = {"what": what, "images": table.content_hash}
    precision = model.classifier.precision
    return cached_features(table.path.parent, identity, backbone, precision, encode_table)


def _begin_chunks(model: ForwardPass, table: ImageTable) -> Iterator[Tensor]:
    """Yield the images of a table, begun, in chunks of a fixed size."""
    for paths in in_chunks(table.paths, CHUNK):
        yield begin_uncached(model, table, paths)


def begin_uncached(model: ForwardPass, table: ImageTable, paths: ImagePaths) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, without a cache."""
    backbone = model.classifier.backbone
    pixels = to_device(table.pixels(paths), model.classifier.device)
    return model.begin_images(normalize(pixels, backbone.image_mean, backbone.image_std))
