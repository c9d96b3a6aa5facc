"""Decoded images as tensors: mapped from one Arrow file, normalised, augmented on the device."""

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

    The tensors it gives may be views of the file: read them, never write into them.
    """

    def __init__(self, path: Path) -> None:
        """Map a file of `decode_images`.

        Raises:
            DataError: if it is missing, cut, or not such a file.
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
        """Count the images."""
        return len(self._place)

    @property
    def paths(self) -> list[str]:
        """All images, in the order of the file."""
        return list(self._row_of)

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
        return [self._parts[number].image(row).permute(2, 0, 1) for number, row in places]

    def pixels(self, paths: Sequence[str]) -> Tensor:
        """Give images of one size as a batch: (images, 3, height, width) uint8.

        Neighbours in one part of the file come as a view, others are gathered.

        Raises:
            DataError: if the images differ in size, or are not in the file.
        """
        places = [self._place[row] for row in self.rows(paths)]
        if places:
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
    """One record batch of the file, mapped.

    Attributes:
        flat: the pixel bytes of all its images, one after another.
        bounds: where each image starts, and where the last one ends.
        sizes: (height, width) of each image.
    """

    flat: Tensor
    bounds: list[int]
    sizes: list[tuple[int, int]]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> "_Part":
        column = batch.column("pixels")
        _, offsets, data = column.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int64)[column.offset :][: len(column) + 1]
        with warnings.catch_warnings():
            # The mapping is read-only, which is what we want.
            warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writ")
            flat = torch.from_numpy(np.frombuffer(data, dtype=np.uint8))
        heights, widths = (batch.column(name).to_pylist() for name in ("height", "width"))
        return cls(flat, bounds.tolist(), list(zip(heights, widths, strict=True)))

    def image(self, row: int) -> Tensor:
        """View one image: (height, width, 3) uint8."""
        return self.flat[self.bounds[row] : self.bounds[row + 1]].view(*self.sizes[row], 3)

    def square(self) -> Tensor | None:
        """View all images as (rows, height, width, 3) uint8, if they have one size."""
        if len(set(self.sizes)) != 1:
            return None
        return self.flat[self.bounds[0] : self.bounds[-1]].view(-1, *self.sizes[0], 3)
