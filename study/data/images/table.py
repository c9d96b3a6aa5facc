"""Decoded images as tensors: mapped into memory from one Arrow file, cropped and normalised."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional as F

from study.data.records import OnCorrupt, listed
from study.errors import DataError
from study.storage.atomic import read_if_exists

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
TRIES = 10
SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


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
            mapped = read_if_exists(path, lambda: pa.memory_map(str(path)), existing=path.parent)
            if mapped is None or (reader := pa.ipc.open_file(mapped)).schema != SCHEMA:
                raise DataError(
                    f"{path}: not a whole file of decoded images (it is missing, or has other "
                    f"columns than {SCHEMA.names})"
                )
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

    @cached_property
    def _images(self) -> list[Tensor]:
        """A view of each image: (height, width, 3) uint8."""
        images: list[Tensor] = []
        for batch in self.batches:
            sizes = [*zip(batch["height"].to_pylist(), batch["width"].to_pylist(), strict=True)]
            data = batch["pixels"].buffers()[2]
            flat = pa.UInt8Array.from_buffers(pa.uint8(), data.size, [None, data])
            parts = torch.from_dlpack(flat).split([height * width * 3 for height, width in sizes])
            images += [part.view(*size, 3) for part, size in zip(parts, sizes, strict=True)]
        return images

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
        return [self._images[row].permute(2, 0, 1) for row in self.rows(paths)]

    def pixels(self, paths: Sequence[str]) -> Tensor:
        """Return images of one size as a batch: (images, 3, height, width) uint8.

        Consecutive images of one record batch are returned as a view, others are copied.

        Raises:
            DataError: the images differ in size, or are not in the file.
        """
        images = [self._images[row] for row in self.rows(paths)]
        if len(sizes := {image.shape for image in images}) != 1:
            raise DataError(
                f"{self.path}: {len(images)} images of {len(sizes)} sizes cannot be one batch; "
                "allowed is one size (decode without keep_aspect)"
            )
        first, bytes_each = images[0], images[0].numel()
        # A record batch begins with a header, so that images of two batches never adjoin.
        starts = range(first.data_ptr(), first.data_ptr() + len(images) * bytes_each, bytes_each)
        if [image.data_ptr() for image in images] == [*starts]:
            batch = first.as_strided((len(images), *first.shape), (bytes_each, *first.stride()))
        else:
            batch = torch.stack(images)
        return batch.permute(0, 3, 1, 2)


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


@dataclass(frozen=True)
class Crops:
    """The crop of each image of a batch, in pixels, and whether the image is mirrored.

    Each field is a (batch,) tensor on the CPU: int64, and bool for `flip`.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor


def draw_crops(
    heights: Tensor,
    widths: Tensor,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
) -> Crops:
    """Draw one crop per image, with the distribution of torchvision's RandomResizedCrop.

    It has ten proposals of area and aspect ratio. The first that fits is used, or, if none fits,
    the largest central rectangle of an allowed ratio. Each is mirrored with a probability of 0.5.

    Args:
        heights: (batch,) heights of the images, in pixels.
        widths: (batch,) widths of the images, in pixels.
        generator: a CPU generator, so that the draw is the same with every device.
        scale: the range of the crop's area, as a fraction of the image's area.
        ratio: the range of width / height, drawn uniformly in its logarithm.
    """
    uniform = torch.rand(len(heights), 2 * TRIES + 3, generator=generator, dtype=torch.float64)
    tall, wide = heights.double(), widths.double()
    area = (tall * wide)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniform[:, :TRIES])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * uniform[:, TRIES : 2 * TRIES])
    width = torch.round(torch.sqrt(area * aspect))
    height = torch.round(torch.sqrt(area / aspect))
    fits = (width > 0) & (width <= wide[:, None]) & (height > 0) & (height <= tall[:, None])
    # Not argmax: among equal values it need not return the first one.
    order = torch.where(fits, torch.arange(TRIES), TRIES).amin(dim=1)
    first = order.clamp(max=TRIES - 1)[:, None]
    found = order < TRIES
    widest = torch.where(wide / tall > ratio[1], torch.round(tall * ratio[1]), wide)
    highest = torch.where(wide / tall < ratio[0], torch.round(wide / ratio[0]), tall)
    width = torch.where(found, width.gather(1, first)[:, 0], widest)
    height = torch.where(found, height.gather(1, first)[:, 0], highest)
    spare_y, spare_x = tall - height, wide - width
    top = torch.where(found, (uniform[:, -3] * (spare_y + 1)).floor(), (spare_y / 2).floor())
    left = torch.where(found, (uniform[:, -2] * (spare_x + 1)).floor(), (spare_x / 2).floor())
    return Crops(top.long(), left.long(), height.long(), width.long(), uniform[:, -1] < 0.5)


def crop_resize(images: Iterable[Tensor], crops: Crops, size: int) -> Tensor:
    """Crop every image, resize the crop (bicubic, antialiased) and mirror it where asked.

    Args:
        images: images of any sizes, each (3, height, width) uint8.
        crops: one crop inside each image.
        size: the height and width of the result, in pixels.

    Returns:
        (images, 3, size, size) uint8.
    """
    rectangles = torch.stack([crops.top, crops.left, crops.height, crops.width], dim=1).tolist()
    resized = [
        F.interpolate(
            image[None, :, top : top + height, left : left + width],
            (size, size),
            mode="bicubic",
            antialias=True,
        )
        for image, (top, left, height, width) in zip(images, rectangles, strict=True)
    ]
    batch = torch.cat(resized).contiguous()
    return torch.where(crops.flip.view(-1, 1, 1, 1), batch.flip(-1), batch)


def random_resized_crop_flip(
    images: Sequence[Tensor] | Tensor,
    size: int,
    generator: torch.Generator,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Augment a batch as the reference does: random resized crop (bicubic), horizontal flip.

    Args:
        images: (batch, 3, height, width) uint8, or a list of (3, height, width) uint8 of any sizes;
            on the CPU.
        size: the height and width of CLIP's input, in pixels.
        generator: a CPU generator; the only source of randomness.
        device: the device of the result.

    Returns:
        (batch, 3, size, size) uint8 on the device.
    """
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.long).view(-1, 2)
    crops = draw_crops(sizes[:, 0], sizes[:, 1], generator)
    return to_device(crop_resize(images, crops, size), torch.device(device))


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
    return (batch.pin_memory() if device.type == "cuda" else batch).to(device, non_blocking=True)
