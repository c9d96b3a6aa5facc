"""Decoded images as tensors: mapped into memory from one Arrow file, cropped and normalised."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from study.data.records import ImagePaths, OnCorrupt, listed
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
HASH, SKIPPED = b"sha256", b"skipped"
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
        fault = f"{path}: not a complete file of decoded images"
        try:
            mapped = read_if_exists(path, lambda: pa.memory_map(str(path)), existing=path.parent)
            reader = None
            if mapped is not None:
                reader = pa.ipc.open_file(mapped)
            if reader is None or reader.schema != SCHEMA:
                raise DataError(
                    f"{fault} (it is missing, or has other columns than {SCHEMA.names})"
                )
            batches = []
            metadata: dict[bytes, bytes] = {}
            for number in range(reader.num_record_batches):
                batch, metadata = reader.get_batch_with_custom_metadata(number)
                batch.validate(full=True)
                batches.append(batch)
            self.batches = batches[:-1]  # the last one is empty, and has the metadata
            self.content_hash = metadata[HASH].decode()
            """The SHA-256 of paths, sizes and pixels that is stored in the file."""
            self.skipped = [str(skipped) for skipped in json.loads(metadata[SKIPPED])]
            """The paths of the images that were unreadable when the file was made."""
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{fault} ({error!r})") from error
        self.paths = []
        """The paths of all images, in the order of the file; skipped images are not there."""
        for batch in self.batches:
            self.paths += batch["path"].to_pylist()
        self._row_of = {path: row for row, path in enumerate(self.paths)}

    @cached_property
    def _images(self) -> list[Tensor]:
        """A view of each image: (height, width, 3) uint8."""
        images = []
        for batch in self.batches:
            heights, widths = batch["height"].to_pylist(), batch["width"].to_pylist()
            sizes = list(zip(heights, widths, strict=True))
            data = batch["pixels"].buffers()[2]
            array = pa.UInt8Array.from_buffers(pa.uint8(), data.size, [None, data])
            pixels = torch.from_dlpack(array)
            views = pixels.split([3 * height * width for height, width in sizes])
            for view, size in zip(views, sizes, strict=True):
                images.append(view.view(*size, 3))
        return images

    def rows(self, paths: ImagePaths) -> list[int]:
        """Return the row of each image.

        Raises:
            DataError: images are not in the file; the message names them.
        """
        missing = [path for path in paths if path not in self._row_of]
        if missing:
            reason = ""
            if not set(missing).isdisjoint(self.skipped):
                reason = " (unreadable when it was made)"
            raise DataError(f"{self.path}: has no pixels of {listed(missing)}{reason}")
        return [self._row_of[path] for path in paths]

    def images(self, paths: ImagePaths) -> list[Tensor]:
        """Return images of any sizes, each a (3, height, width) uint8 view of the file."""
        return [self._images[row].permute(2, 0, 1) for row in self.rows(paths)]

    def pixels(self, paths: ImagePaths) -> Tensor:
        """Return copies of images of one size as a batch: (images, 3, height, width) uint8.

        Raises:
            DataError: images are not in the file.
        """
        images = [self._images[row] for row in self.rows(paths)]
        return torch.stack(images).permute(0, 3, 1, 2)


def cache_fault(file: Path, paths: ImagePaths, on_corrupt: OnCorrupt = "skip") -> str | None:
    """Return what is wrong with an Arrow file, or None if it is complete.

    A complete file has pixels with the hash stored in it, and contains all images but those that it
    lists as skipped. Where unreadable images are fatal, none may be skipped.

    Args:
        file: the file.
        paths: the images that it should contain.
        on_corrupt: what to do about unreadable images.
    """
    try:
        table = ImageTable(file)
    except DataError as error:
        return str(error)
    status = file.stat()
    skipped = set(table.skipped)
    if table.content_hash != _hash_of(file, (status.st_ino, status.st_mtime_ns, status.st_size)):
        return "its pixels have changed"
    expected = [path for path in paths if path not in skipped]
    if table.paths != expected or not skipped.issubset(paths):
        return "it holds other images"
    if skipped and on_corrupt == "fail":
        return f"lacks {listed(table.skipped)}"
    return None


@lru_cache(maxsize=64)
def _hash_of(file: Path, version: tuple[int, int, int]) -> str:
    """Return a hash of paths and pixels, cached since every seed has the same test split.

    Args:
        file: the Arrow file.
        version: inode, time and size of the file; a changed file is read again.
    """
    digest = hashlib.sha256()
    for batch in ImageTable(file).batches:
        hash_batch(batch, digest)
    return digest.hexdigest()


def hash_batch(batch: pa.RecordBatch, digest: "hashlib._Hash") -> None:
    """Add paths, sizes and pixels of a batch to a hash without copying a byte."""
    for path, height, width, pixels in zip(*batch.columns, strict=True):
        digest.update(f"{path}\0{height}\0{width}\0".encode())
        digest.update(pixels.as_buffer())


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
        generator: a CPU generator, so that the draw is the same with every device; the only source
            of randomness.
        device: the device of the result.

    Returns:
        (batch, 3, size, size) uint8 on the device.
    """
    # The import takes a second, and few processes augment images.
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(size, interpolation=v2.InterpolationMode.BICUBIC)
    augment = v2.Compose([crop, v2.RandomHorizontalFlip()])
    with torch.random.fork_rng(devices=[]):  # torchvision draws from PyTorch's own generator
        torch.set_rng_state(generator.get_state())
        augmented = torch.stack([augment(image) for image in images])
        generator.set_state(torch.get_rng_state())
    return to_device(augmented, torch.device(device))


def normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale pixels to 0..1 and normalize each channel, as CLIP expects its input.

    Args:
        pixels: (batch, 3, height, width) uint8.
        mean: the mean of each channel, on the scale 0..1.
        std: the standard deviation of each channel, on the scale 0..1.

    Returns:
        (batch, 3, height, width) float32, on the same device.
    """
    statistics = torch.tensor([mean, std], dtype=torch.float32, device=pixels.device)
    center, spread = statistics.view(2, 3, 1, 1)
    return pixels.float().div_(255).sub_(center).div_(spread)


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """Copy a batch to a device without waiting; for a GPU this needs pinned memory."""
    if device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True)
