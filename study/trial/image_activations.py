"""Images that passed the stages of the image encoder below the lowest tuned one.

Frozen stages return the same for an image in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the encoder is tuned, or its
projection alone, what passed the rest is stored on disk as well. Activations inside an encoder are
far larger. For a peer that may tune every stage, images are kept as normalised pixels.
"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.data.images.table import ImageTable, normalize, to_device
from study.method.peer_model import PlainPass
from study.method.staged import StagedClassifier
from study.trial.feature_cache import Cache, Tensors, cached_features

CHUNK = 64
"""The number of images that are encoded at once."""
IMAGES = Cache(2**27)
"""Half a gigabyte of float32 for images; an empty result stands for a table that does not fit."""

open_table = cache(ImageTable)
"""Open an image table, once per process: it is a read-only memory map."""


def begin_images(
    model: StagedClassifier | PlainPass,
    backbone: Backbone,
    path: Path,
    wanted: Sequence[str],
) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, from a cache.

    The whole table is encoded in chunks of a fixed size, so that an image's activations do not
    depend on which others are requested. If it does not fit into the cache, these images are
    encoded alone.

    Args:
        model: the classifier; its lowest tuned stage is where the activations end.
        backbone: the backbone of the classifier.
        path: the image table; its images are square.
        wanted: the paths of the images in the table, in the order wanted.
    """
    table, precision, device = open_table(path), model.classifier.precision, model.classifier.device
    stage = model.vision.first if isinstance(model, StagedClassifier) else "pixels"
    key = (path, backbone.state, precision, str(device), stage)
    whole = IMAGES.get(key, partial(_begin_table, model, backbone, table))
    if not whole:
        return begin_anew(model, backbone, table, wanted)
    return whole["features"][torch.tensor(table.rows(wanted), device=device)]


def _begin_table(
    model: StagedClassifier | PlainPass, backbone: Backbone, table: ImageTable
) -> Tensors:
    """Return all images of a table, begun; nothing if they do not fit into the cache."""
    starts = range(0, len(table.paths), CHUNK)
    parts = (table.paths[start : start + CHUNK] for start in starts)
    chunks = (begin_anew(model, backbone, table, part) for part in parts)
    encoder = model.vision if isinstance(model, StagedClassifier) else None
    if encoder and encoder.first >= encoder.projection:
        what, size = "features of images", backbone.dim
        if encoder.is_tuned:
            what = "states of images before the projection"
            size = backbone.clip.config.vision_config.hidden_size
        if len(table.paths) * size > IMAGES.room:
            return {}
        return cached_features(
            table.path.parent,
            {"what": what, "images": table.content_hash},
            backbone,
            model.classifier.precision,
            lambda: {"features": torch.cat([*chunks])},
        )
    first = next(chunks)
    fits = first[0].numel() * len(table.paths) <= IMAGES.room
    return {"features": torch.cat([first, *chunks])} if fits else {}


def begin_anew(
    model: StagedClassifier | PlainPass,
    backbone: Backbone,
    table: ImageTable,
    wanted: Sequence[str],
) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, from no cache."""
    images = to_device(table.pixels(wanted), model.classifier.device)
    return model.begin_images(normalize(images, backbone.image_mean, backbone.image_std))
