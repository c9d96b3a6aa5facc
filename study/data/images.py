"""Decoded images as tensors: mapped from one Arrow file, normalised, augmented on the device."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from study.data.augment import normalize, random_resized_crop_flip
from study.data.decode import content_hash, decode_images, open_cache, skipped_images
from study.data.records import listed
from study.errors import DataError

__all__ = [
    "ImageTable",
    "content_hash",
    "decode_images",
    "normalize",
    "random_resized_crop_flip",
    "skipped_images",
]


class ImageTable:
    """The images of one Arrow file, mapped into memory and shared by every process of a node.

    The tensors it gives may be views of the file: read them, never write into them.
    """

    def __init__(self, path: Path) -> None:
        """Map a file of `decode_images`.

        Raises:
            DataError: if it is missing, cut, or not such a file.
        """
        self.path = Path(path)
        batches, _ = open_cache(self.path)
        self._batches: list[list[Tensor]] = [_views(batch) for batch in batches]
        self._squares: list[Tensor | None] = [_square(batch) for batch in batches]
        self._place: list[tuple[int, int]] = [
            (number, row) for number, batch in enumerate(batches) for row in range(batch.num_rows)
        ]
        names = [name for batch in batches for name in batch.column("path").to_pylist()]
        self._row_of: dict[str, int] = {name: row for row, name in enumerate(names)}

    def __len__(self) -> int:
        """Count the images."""
        return len(self._place)

    def __contains__(self, path: object) -> bool:
        """Tell whether the file has an image; skipped ones are not there."""
        return path in self._row_of

    def __reduce__(self) -> tuple[type["ImageTable"], tuple[Path]]:
        """Travel between processes as a path, not as pixels."""
        return ImageTable, (self.path,)

    def rows(self, paths: Sequence[str]) -> list[int]:
        """Give the rows of images.

        Raises:
            DataError: naming images that are not in the file.
        """
        missing = [path for path in paths if path not in self._row_of]
        if missing:
            skipped = set(skipped_images(self.path)) & set(missing)
            reason = " (unreadable when it was made)" if skipped else ""
            raise DataError(f"{self.path}: has no pixels of {listed(missing)}{reason}")
        return [self._row_of[path] for path in paths]

    def images(self, paths: Sequence[str]) -> list[Tensor]:
        """Give images of any sizes, each (3, height, width) uint8, without copying."""
        places = [self._place[row] for row in self.rows(paths)]
        return [self._batches[number][row] for number, row in places]

    def pixels(self, paths: Sequence[str]) -> Tensor:
        """Give images of one size as a batch: (images, 3, height, width) uint8.

        Neighbours in one part of the file come as a view, others are gathered.

        Raises:
            DataError: if the images differ in size, or are not in the file.
        """
        rows = self.rows(paths)
        places = [self._place[row] for row in rows]
        if places:
            number, first = places[0]
            square = self._squares[number]
            run = [(number, first + step) for step in range(len(places))]
            if square is not None and places == run:
                return square[first : first + len(places)]
        images = [self._batches[number][row] for number, row in places]
        shapes = {tuple(image.shape) for image in images}
        if len(shapes) != 1:
            raise DataError(
                f"{self.path}: {len(images)} images of {len(shapes)} sizes cannot be one batch; "
                "allowed is one size (decode without keep_aspect)"
            )
        return torch.stack(images)


def _bytes(batch: pa.RecordBatch) -> tuple[Tensor, list[int]]:
    """Map the pixel bytes of a batch, and where each image starts and ends."""
    column = batch.column("pixels")
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    with warnings.catch_warnings():
        # The mapping is read-only, which is what we want.
        warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writable")
        flat = torch.from_numpy(np.frombuffer(data, dtype=np.uint8)) if data else torch.empty(0)
    return flat, bounds.tolist()


def _views(batch: pa.RecordBatch) -> list[Tensor]:
    """View every image of a batch as (3, height, width) uint8."""
    flat, bounds = _bytes(batch)
    heights, widths = (batch.column(name).to_pylist() for name in ("height", "width"))
    return [
        flat[start:stop].view(height, width, 3).permute(2, 0, 1)
        for start, stop, height, width in zip(bounds, bounds[1:], heights, widths, strict=False)
    ]


def _square(batch: pa.RecordBatch) -> Tensor | None:
    """View a batch of images of one size as (rows, 3, height, width) uint8."""
    sizes = set(zip(*(batch.column(n).to_pylist() for n in ("height", "width")), strict=True))
    if len(sizes) != 1:
        return None
    height, width = sizes.pop()
    flat, bounds = _bytes(batch)
    return flat[bounds[0] : bounds[-1]].view(-1, height, width, 3).permute(0, 3, 1, 2)
