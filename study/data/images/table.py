"""Decoded images as tensors that are mapped into memory from one Arrow file."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from study.data.images.augment import normalize, random_resized_crop_flip, to_device
from study.data.images.decode import content_hash, decode_images, open_cache, skipped_images
from study.data.records import listed
from study.errors import DataError

__all__ = [
    "ImageTable",
    "content_hash",
    "decode_images",
    "normalize",
    "random_resized_crop_flip",
    "skipped_images",
    "to_device",
]


class ImageTable:
    """The images of one Arrow file, mapped into memory and shared by every process of a node.

    The tensors that it returns may be views of the file: never write into them.
    """

    def __init__(self, path: Path) -> None:
        """Map a file that `decode_images` wrote.

        Raises:
            DataError: if the file is missing, cut short, or not from `decode_images`.
        """
        self.path = Path(path)
        batches, _ = open_cache(self.path)
        self._parts = [_Part.of(batch) for batch in batches]
        self._place = [
            (number, row) for number, batch in enumerate(batches) for row in range(batch.num_rows)
        ]
        names = [name for batch in batches for name in batch.column("path").to_pylist()]
        self._row_of: dict[str, int] = {name: row for row, name in enumerate(names)}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._place)

    @property
    def paths(self) -> list[str]:
        """The paths of all images, in the order of the file; skipped images are not there."""
        return list(self._row_of)

    def __reduce__(self) -> tuple[type["ImageTable"], tuple[Path]]:
        """Pickle the table as its path, without the pixels."""
        return ImageTable, (self.path,)

    def rows(self, paths: Sequence[str]) -> list[int]:
        """Return the row of each image.

        Raises:
            DataError: if images are not in the file; the message names them.
        """
        if missing := [path for path in paths if path not in self._row_of]:
            skipped = set(skipped_images(self.path)) & set(missing)
            reason = " (unreadable when it was made)" if skipped else ""
            raise DataError(f"{self.path}: has no pixels of {listed(missing)}{reason}")
        return [self._row_of[path] for path in paths]

    def images(self, paths: Sequence[str]) -> list[Tensor]:
        """Return images of any sizes, each a (3, height, width) uint8 view of the file."""
        places = [self._place[row] for row in self.rows(paths)]
        return [self._parts[number].image(row).permute(2, 0, 1) for number, row in places]

    def pixels(self, paths: Sequence[str]) -> Tensor:
        """Return images of one size as a batch: (images, 3, height, width) uint8.

        Consecutive images of one record batch are returned as a view, others are copied.

        Raises:
            DataError: if the images differ in size, or are not in the file.
        """
        if places := [self._place[row] for row in self.rows(paths)]:
            number, first = places[0]
            run = [(number, first + step) for step in range(len(places))]
            if places == run and (square := self._parts[number].square()) is not None:
                return square[first : first + len(places)].permute(0, 3, 1, 2)
        images = [self._parts[number].image(row) for number, row in places]
        sizes = {tuple(image.shape) for image in images}
        if len(sizes) != 1:
            raise DataError(
                f"{self.path}: {len(images)} images of {len(sizes)} sizes cannot be one batch; "
                "allowed is one size (decode without keep_aspect)"
            )
        return torch.stack(images).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Part:
    """One record batch of the file, mapped into memory."""

    flat: Tensor
    """The pixels of all images, one after another: (bytes,) uint8."""
    bounds: list[int]
    """The start of each image in `flat`, and the end of the last one."""
    sizes: list[tuple[int, int]]
    """The (height, width) of each image."""

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> "_Part":
        column = batch.column("pixels")
        _, offsets, data = column.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int64)[column.offset :][: len(column) + 1]
        with warnings.catch_warnings():
            # PyTorch warns about read-only memory, but here it is read-only on purpose.
            warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writ")
            flat = torch.from_numpy(np.frombuffer(data, dtype=np.uint8))
        heights, widths = (batch.column(name).to_pylist() for name in ("height", "width"))
        return cls(flat, bounds.tolist(), list(zip(heights, widths, strict=True)))

    def image(self, row: int) -> Tensor:
        """Return a view of one image: (height, width, 3) uint8."""
        return self.flat[self.bounds[row] : self.bounds[row + 1]].view(*self.sizes[row], 3)

    def square(self) -> Tensor | None:
        """Return a (rows, height, width, 3) uint8 view of all images, or None if sizes differ."""
        if len(set(self.sizes)) != 1:
            return None
        return self.flat[self.bounds[0] : self.bounds[-1]].view(-1, *self.sizes[0], 3)
