"""Images of a table on their way into a vision encoder, up to where something is tuned.

What is frozen gives the same for an image at every epoch and in every trial, so it is computed
once a process and kept as long as there is room; the features of an encoder in which nothing is
tuned, once for all processes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from study.data.images.table import ImageTable, content_hash, normalize, to_device
from study.method.model import Backbone
from study.method.packed import PackedClassifiers
from study.trial.feature_cache import cached_features

ROOM = 2**27
"""Numbers that are kept in a process at most: half a gigabyte of float32."""
CHUNK = 64
"""Images at a time."""

_tables: dict[Path, ImageTable] = {}
_begun: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
_too_many: set[tuple[object, ...]] = set()
"""What there is no room for, found out once a process."""


class ImageActivations:
    """The images of one table of square images, begun for some classifiers."""

    def __init__(self, path: Path, backbone: Backbone, packed: PackedClassifiers) -> None:
        self._table = open_table(path)
        self._backbone = backbone
        self._packed = packed
        first = packed.classifiers[0]
        self._device = first.device
        self._key = (
            *(path, backbone.fingerprint, first.precision, str(first.device)),
            packed.first_vision_stage,
        )

    def of(self, paths: Sequence[str]) -> Tensor:
        """Give images as `PackedClassifiers.begin_images` does."""
        whole = self._whole()
        if whole is None:
            return self._begin(self._table.pixels(paths))
        return whole[torch.tensor(self._table.rows(paths), device=whole.device)]

    def _whole(self) -> Tensor | None:
        """Give all images of the table, those that are kept if they are; None without room."""
        if self._key in _begun:
            _begun.move_to_end(self._key)
            return _begun[self._key]
        if self._key in _too_many:
            return None
        whole = self._activations() if self._packed.tunes_vision else self._features()
        if whole is None:
            _too_many.add(self._key)
            return None
        _begun[self._key] = whole
        while sum(tensor.numel() for tensor in _begun.values()) > ROOM:
            _begun.popitem(last=False)
        return whole

    def _features(self) -> Tensor | None:
        if len(self._table) * self._backbone.clip.config.projection_dim > ROOM:
            return None
        what = {"what": "features of images", "images": content_hash(self._table.path)}

        def compute() -> dict[str, Tensor]:
            return {"features": torch.cat(list(self._chunks()))}

        precision = self._packed.classifiers[0].precision
        return cached_features(self._table.path.parent, what, self._backbone, precision, compute)[
            "features"
        ]

    def _activations(self) -> Tensor | None:
        chunks = self._chunks()
        first = next(chunks)
        if first[0].numel() * len(self._table) > ROOM:
            return None
        return torch.cat([first, *chunks])

    def _chunks(self) -> Iterator[Tensor]:
        """Begin all images of the table, always as many at a time: an image's numbers then do not
        depend on which others are asked for with it."""
        names = self._table.paths
        for at in range(0, len(names), CHUNK):
            yield self._begin(self._table.pixels(names[at : at + CHUNK]))

    def _begin(self, pixels: Tensor) -> Tensor:
        images = to_device(pixels, self._device)
        return self._packed.begin_images(
            normalize(images, self._backbone.image_mean, self._backbone.image_std)
        )


def clear_cache() -> None:
    """Let go of all images that are kept; they are begun again when asked for."""
    _begun.clear()
    _too_many.clear()


def open_table(path: Path) -> ImageTable:
    """Open an image table once a process: it is a read-only memory map."""
    if path not in _tables:
        _tables[path] = ImageTable(path)
    return _tables[path]
