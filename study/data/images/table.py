"""Decoded images as tensors that are mapped into memory from one Arrow file."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, repeat
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from study.data.records import OnCorrupt, listed
from study.errors import DataError
from study.storage.atomic import read_if_there

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixels", pa.large_binary()),
    ]
)
HASH, SKIPPED, HIGHEST_VALUE = b"sha256", b"skipped", b"highest 16-bit value"
"""The keys of the last batch's metadata."""


class ImageTable:
    """The images of one Arrow file, mapped into memory and shared by every process of a node.

    The tensors that it returns may be views of the file: never write into them.
    """

    def __init__(self, path: Path) -> None:
        """Map a file that `study.data.images.decode.decode_images` wrote.

        Raises:
            DataError: the file is missing, cut short, or not such a file.
        """
        self.path = path
        try:
            mapped = read_if_there(path, lambda: pa.memory_map(str(path)), known=path.parent)
            if mapped is None:
                raise DataError(f"{path}: not a whole file of decoded images (it is missing)")
            if (reader := pa.ipc.open_file(mapped)).schema != SCHEMA:
                raise DataError(f"{path}: has other columns than {SCHEMA.names}")
            numbers = range(reader.num_record_batches)
            *parts, end = map(reader.get_batch_with_custom_metadata, numbers)
            for part in (*parts, end):
                part.batch.validate(full=True)
            self.content_hash: str = end.custom_metadata[HASH].decode()
            """The SHA-256 of paths, sizes and pixels that is stored in the file."""
            self.skipped = [str(skipped) for skipped in json.loads(end.custom_metadata[SKIPPED])]
            """The paths of the images that were unreadable when the file was made."""
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a whole file of decoded images ({error!r})") from error
        self.batches: list[pa.RecordBatch] = [part.batch for part in parts]
        self.paths = [path for batch in self.batches for path in batch["path"].to_pylist()]
        """The paths of all images, in the order of the file; skipped images are not there."""
        self._row_of = {path: row for row, path in enumerate(self.paths)}
        highest = end.custom_metadata.get(HIGHEST_VALUE, b"")
        self.highest = int(highest) if highest.isdigit() else None
        """The highest value of the 16-bit images before they were scaled.

        None means that there are none, or that a ``pixel_range`` says how they are scaled."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def __reduce__(self) -> tuple[type["ImageTable"], tuple[Path]]:
        """Pickle the table as its path, without the pixels."""
        return ImageTable, (self.path,)

    @cached_property
    def _flat(self) -> list[Tensor]:
        """The pixels of each record batch, one image after another: (bytes,) uint8."""
        buffers = [batch["pixels"].buffers()[2] for batch in self.batches]
        arrays = [pa.UInt8Array.from_buffers(pa.uint8(), b.size, [None, b]) for b in buffers]
        return [torch.from_dlpack(array) for array in arrays]

    @cached_property
    def _places(self) -> list[tuple[int, int, int, int]]:
        """The record batch of each image, where it begins there, and its height and width."""
        places: list[tuple[int, int, int, int]] = []
        for number, batch in enumerate(self.batches):
            heights, widths = (batch[name].to_pylist() for name in ("height", "width"))
            bytes_of = (3 * height * width for height, width in zip(heights, widths, strict=True))
            starts = accumulate(bytes_of, initial=0)
            places += zip(repeat(number), starts, heights, widths, strict=False)
        return places

    def rows(self, paths: Sequence[str]) -> list[int]:
        """Return the row of each image.

        Raises:
            DataError: images are not in the file; the message names them.
        """
        if missing := [path for path in paths if path not in self._row_of]:
            reason = " (unreadable when it was made)" if {*self.skipped} & {*missing} else ""
            raise DataError(f"{self.path}: has no pixels of {listed(missing)}{reason}")
        return [self._row_of[path] for path in paths]

    def images(self, paths: Sequence[str]) -> list[Tensor]:
        """Return images of any sizes, each a (3, height, width) uint8 view of the file."""
        places = [self._places[row] for row in self.rows(paths)]
        return [self._view(*place)[0].permute(2, 0, 1) for place in places]

    def pixels(self, paths: Sequence[str]) -> Tensor:
        """Return images of one size as a batch: (images, 3, height, width) uint8.

        Consecutive images of one record batch are returned as a view, others are copied.

        Raises:
            DataError: the images differ in size, or are not in the file.
        """
        places = [self._places[row] for row in self.rows(paths)]
        if len(sizes := {place[2:] for place in places}) != 1:
            raise DataError(
                f"{self.path}: {len(places)} images of {len(sizes)} sizes cannot be one batch; "
                "allowed is one size (decode without keep_aspect)"
            )
        number, first, height, width = places[0]
        starts = range(first, first + len(places) * 3 * height * width, 3 * height * width)
        if places == [(number, start, height, width) for start in starts]:
            batch = self._view(*places[0], images=len(places))
        else:
            batch = torch.cat([self._view(*place) for place in places])
        return batch.permute(0, 3, 1, 2)

    def _view(self, number: int, start: int, height: int, width: int, images: int = 1) -> Tensor:
        """Return a view of consecutive images: (images, height, width, 3) uint8."""
        pixels = self._flat[number][start : start + images * height * width * 3]
        return pixels.view(images, height, width, 3)


def cache_fault(file: Path, wanted: Sequence[str], on_corrupt: OnCorrupt = "skip") -> str | None:
    """Return what is wrong with an Arrow file, or None if it is complete.

    It is complete if its pixels have the hash stored in it, and it holds the wanted images, except
    those that it lists as skipped, which must not be where corrupt images are fatal.
    """
    try:
        table = ImageTable(file)
    except DataError as error:
        return str(error)
    status, skipped = file.stat(), set(table.skipped)
    if table.content_hash != _hash_of(file, (status.st_ino, status.st_mtime_ns, status.st_size)):
        return "its pixels have changed"
    if table.paths != [path for path in wanted if path not in skipped] or skipped - set(wanted):
        return "it holds other images"
    return f"lacks {listed(table.skipped)}" if skipped and on_corrupt == "fail" else None


@lru_cache(maxsize=64)
def _hash_of(file: Path, stamp: tuple[int, int, int]) -> str:
    """Return a hash of paths and pixels; it is cached, since every seed has the same test split."""
    digest = hashlib.sha256()
    for batch in ImageTable(file).batches:
        hash_batch(batch, digest)
    return digest.hexdigest()


def hash_batch(batch: pa.RecordBatch, digest: "hashlib._Hash") -> None:
    """Add paths, sizes and pixels of a batch to a hash; no byte is copied."""
    for path, height, width, pixels in zip(*batch.columns, strict=True):
        digest.update(f"{path}\0{height}\0{width}\0".encode())
        digest.update(pixels.as_buffer())


def normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale pixels to 0..1 and normalize each channel, as CLIP expects its input.

    Args:
        pixels: (batch, 3, height, width) uint8.
        mean: the mean of each channel, on the scale 0..1.
        std: the standard deviation of each channel, on the scale 0..1.

    Returns:
        (batch, 3, height, width) float32, on the same device.
    """
    center, spread = (
        torch.tensor(values, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        for values in (mean, std)
    )
    return pixels.float().div_(255).sub_(center).div_(spread)


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """Copy a batch to a device without waiting; for a GPU this needs pinned memory."""
    pinned = batch.pin_memory() if device.type == "cuda" else batch
    return pinned.to(device, non_blocking=True)
