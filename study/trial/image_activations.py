"""A cache for images that passed the stages of a vision encoder below the lowest tuned one.

Frozen stages return the same for an image in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room. If nothing in the encoder is tuned, its
features are computed once for all processes, see `study.trial.feature_cache`.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from study.data.images.table import ImageTable, content_hash, normalize, to_device
from study.method.model import Backbone
from study.method.staged import StagedClassifier
from study.trial.feature_cache import cached_features

ROOM = 2**27
"""The most numbers that a process keeps: half a gigabyte of float32."""
CHUNK = 64
"""The number of images that are encoded at once."""

_tables: dict[Path, ImageTable] = {}
_cache: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
_too_large: set[tuple[object, ...]] = set()
"""The keys of tables whose activations do not fit into `ROOM`."""


class ImageActivations:
    """The images of one table after the frozen first stages of a vision encoder.

    Args:
        path: the image table; its images are square.
        backbone: the backbone of the classifier.
        staged: the classifier; its lowest tuned stage is where the activations end.
    """

    def __init__(self, path: Path, backbone: Backbone, staged: StagedClassifier) -> None:
        self._table = open_table(path)
        self._backbone = backbone
        self._staged = staged
        self._precision, self._device = staged.classifier.precision, staged.classifier.device
        self._key = (
            *(path, backbone.fingerprint, self._precision, str(self._device)),
            staged.first_vision_stage,
        )

    def of(self, paths: Sequence[str]) -> Tensor:
        """Return what `StagedClassifier.begin_images` returns for these images of the table.

        Args:
            paths: the paths of the images in the table, in the order wanted.
        """
        if (whole := self._whole()) is None:
            return self._begin(self._table.pixels(paths))
        return whole[torch.tensor(self._table.rows(paths), device=whole.device)]

    def _whole(self) -> Tensor | None:
        """Return the activations of the whole table from the cache; None if they do not fit."""
        if self._key in _cache:
            _cache.move_to_end(self._key)
            return _cache[self._key]
        if self._key in _too_large:
            return None
        whole = self._activations() if self._staged.tunes_vision else self._features()
        if whole is None:
            _too_large.add(self._key)
            return None
        _cache[self._key] = whole
        while sum(tensor.numel() for tensor in _cache.values()) > ROOM:
            _cache.popitem(last=False)
        return whole

    def _features(self) -> Tensor | None:
        if len(self._table) * self._backbone.clip.config.projection_dim > ROOM:
            return None
        return cached_features(
            self._table.path.parent,
            {"what": "features of images", "images": content_hash(self._table.path)},
            self._backbone,
            self._precision,
            lambda: {"features": torch.cat(list(self._chunks()))},
        )["features"]

    def _activations(self) -> Tensor | None:
        chunks = self._chunks()
        first = next(chunks)
        if first[0].numel() * len(self._table) > ROOM:
            return None
        return torch.cat([first, *chunks])

    def _chunks(self) -> Iterator[Tensor]:
        """Yield the activations of the table's images, in chunks of a fixed size.

        With a fixed size, an image's activations do not depend on which others are requested.
        """
        names = self._table.paths
        for at in range(0, len(names), CHUNK):
            yield self._begin(self._table.pixels(names[at : at + CHUNK]))

    def _begin(self, pixels: Tensor) -> Tensor:
        images = to_device(pixels, self._device)
        return self._staged.begin_images(
            normalize(images, self._backbone.image_mean, self._backbone.image_std)
        )


def clear_cache() -> None:
    """Drop all cached activations; they are computed again when needed."""
    _cache.clear()
    _too_large.clear()


def open_table(path: Path) -> ImageTable:
    """Open an image table, once per process: it is a read-only memory map."""
    if path not in _tables:
        _tables[path] = ImageTable(path)
    return _tables[path]
