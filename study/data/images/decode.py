"""Decode images once into one Arrow file that every process maps into memory."""

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from study.data.images.rgb import HIGHEST
from study.data.records import ImageSource, OnCorrupt, StampedSource, listed
from study.errors import DataError
from study.storage.atomic import StorageError, read_if_there, sync_folder

logger = logging.getLogger(__name__)

# Part of the cache's name and of `config_hash`: raise it when a change gives images other pixels.
PREPROCESSING = 2
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixels", pa.large_binary()),
    ]
)
LONGEST_ASPECT = 200
"""The largest allowed ratio of the sides: a strip one pixel wide would be resized to gigabytes."""
ROWS = 64  # images decoded and written at a time
_HASH = b"sha256"
_SKIPPED = b"skipped"
_HIGHEST = b"highest 16-bit value"

ImageCounter = Callable[[int, int], None]
"""A function that is called with the number of images done and the number of all images."""


def resize_shorter(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` pixels, bicubic with antialiasing, as CLIP does."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(size * long / short)
    target = (size, longer) if width <= height else (longer, size)
    return image if target == image.size else image.resize(target, Image.Resampling.BICUBIC)


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """Cut the middle `size` × `size` pixels."""
    width, height = image.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def refuse_shape(image: Image.Image) -> None:
    """Refuse an image that cannot be resized within reason.

    Raises:
        DataError: the image has no pixels, or its sides have a ratio above `LONGEST_ASPECT`.
    """
    if not 0 < max(image.size) <= LONGEST_ASPECT * min(image.size):
        raise DataError(
            f"an image of {image.width} × {image.height} pixels; allowed is a longer side of at "
            f"most {LONGEST_ASPECT} times the shorter one"
        )


def preprocess(image: Image.Image, *, size: int, keep_aspect: bool) -> NDArray[np.uint8]:
    """Bring an image to CLIP's size, or keep it whole for augmentation.

    Returns:
        (size, size, 3) uint8; with keep_aspect (height, width, 3) uint8, whose shorter side is at
        most 2 · size.

    Raises:
        DataError: the image has no pixels, or its sides have a ratio above `LONGEST_ASPECT`.
    """
    refuse_shape(image)
    if not keep_aspect:
        image = center_crop(resize_shorter(image, size), size)
    elif min(image.size) > 2 * size:
        image = resize_shorter(image, 2 * size)
    return np.asarray(image, dtype=np.uint8)


def open_image(source: ImageSource, path: str, highest: list[int]) -> Image.Image:
    """Open an image; the highest value of a 16-bit image is appended to `highest`.

    Raises:
        DataError: the image cannot be decoded or resized; the message names its path.
    """
    image = source.open(path)
    if HIGHEST in image.info:
        highest.append(image.info[HIGHEST])
    try:
        refuse_shape(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return image


def cache_file(
    source: ImageSource,
    paths: Sequence[str],
    *,
    size: int,
    cache: Path,
    key: str,
    keep_aspect: bool,
) -> Path:
    """Return the path of the images' Arrow file; its name depends on each image and on the size."""
    form = "whole" if keep_aspect else "square"
    digest = hashlib.sha256(f"{PREPROCESSING} {form} {size}".encode())
    for path in paths:
        stamp = source.stamp(path) if isinstance(source, StampedSource) else ""
        digest.update(f"\n{path}\0{stamp}".encode())
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in key)[:80]
    return cache / f"{name}-{size}-{form}-{digest.hexdigest()[:16]}.arrow"


def decode_images(
    source: ImageSource,
    paths: Sequence[str],
    *,
    size: int,
    cache: Path,
    key: str,
    keep_aspect: bool = False,
    on_corrupt: OnCorrupt = "fail",
    progress: ImageCounter | None = None,
) -> Path:
    """Decode images into one Arrow IPC file, or use the complete one that exists.

    Several processes or nodes may do this at once: each writes a file of its own and renames it
    when it is complete. An existing file is used only if its pixels have the hash stored in it.

    Args:
        source: opens the images.
        paths: the images; a repeated path is decoded once.
        size: the width and height of CLIP's input, in pixels.
        cache: the folder of the Arrow files.
        key: the start of the file's name, such as the dataset's name; it distinguishes sources
            that have the same paths and no stamps.
        keep_aspect: whether to keep whole images for augmentation, shorter side at most 2 · size.
        on_corrupt: what to do about unreadable images: fail, or leave them out and log them.
        progress: called with (images done, images in all).

    Returns:
        The file, with the columns path, height, width and pixels (height · width · 3 uint8, row by
        row).

    Raises:
        DataError: images are unreadable; the message names them.
        StorageError: the cache cannot be written.
    """
    wanted = list(dict.fromkeys(paths))
    count: ImageCounter = progress or (lambda done, total: None)
    file = cache_file(source, wanted, size=size, cache=cache, key=key, keep_aspect=keep_aspect)
    if file.exists():
        fault = cache_fault(file, wanted)
        # Images that were skipped once must not pass where corrupt ones are fatal.
        if fault is None and on_corrupt == "fail" and (skipped := skipped_images(file)):
            fault = f"lacks {listed(skipped)}"
        if fault is None:
            count(len(wanted), len(wanted))
            return file
        logger.warning("%s: %s; decoding again", file, fault)
    cache.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(cache)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            highest: list[int] = []
            rows = _decoded(pool, source, wanted, size, keep_aspect, highest)
            skipped = _write(temporary, rows, len(wanted), on_corrupt, count, highest)
        if skipped and len(skipped) == len(wanted):
            raise DataError(f"{key}: none of {len(wanted)} images is readable: {listed(skipped)}")
        temporary.replace(file)
        with suppress(OSError):  # some file systems refuse it
            sync_folder(cache)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _decoded(
    pool: ThreadPoolExecutor,
    source: ImageSource,
    paths: Sequence[str],
    size: int,
    keep_aspect: bool,
    highest: list[int],
) -> Iterator[tuple[str, NDArray[np.uint8] | DataError]]:
    """Yield each path with its pixels or its error, in order.

    Threads decode a few images ahead, since Pillow releases Python's global lock. The highest value
    of each 16-bit image is appended to ``highest``.
    """

    def decode(path: str) -> NDArray[np.uint8] | DataError:
        try:
            image = open_image(source, path, highest)
            return preprocess(image, size=size, keep_aspect=keep_aspect)
        except DataError as error:
            return error

    for start in range(0, len(paths), ROWS):
        chunk = paths[start : start + ROWS]
        yield from zip(chunk, pool.map(decode, chunk), strict=True)


def _write(
    file: Path,
    rows: Iterable[tuple[str, NDArray[np.uint8] | DataError]],
    total: int,
    on_corrupt: OnCorrupt,
    count: ImageCounter,
    highest: Sequence[int],
) -> list[str]:
    """Write rows in batches, then an empty batch with the hash; return the skipped paths.

    Reading ``rows`` fills ``highest`` with the highest value of each 16-bit image.
    """
    digest = hashlib.sha256()
    skipped: list[str] = []

    def readable() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for done, (path, pixels) in enumerate(rows, start=1):
            if not isinstance(pixels, DataError):
                yield path, pixels
            elif on_corrupt == "fail":
                raise pixels
            else:
                logger.warning("skipped: %s", pixels)
                skipped.append(path)
            count(done, total)

    kept = readable()
    with file.open("wb") as sink:
        with pa.ipc.new_file(sink, SCHEMA) as writer:
            while chunk := list(islice(kept, ROWS)):
                batch = _batch(chunk)
                _hash_batch(batch, digest)
                writer.write_batch(batch)
            # The hash is known only now, and an Arrow file's own metadata come first.
            end = {
                _HASH: digest.hexdigest().encode(),
                _SKIPPED: json.dumps(skipped).encode(),
                _HIGHEST: str(max(highest, default="")).encode(),
            }
            writer.write_batch(_batch([]), custom_metadata=end)
        sink.flush()
        os.fsync(sink.fileno())
    return skipped


def _batch(rows: Sequence[tuple[str, NDArray[np.uint8]]]) -> pa.RecordBatch:
    columns = {
        "path": [path for path, _ in rows],
        "height": [pixels.shape[0] for _, pixels in rows],
        "width": [pixels.shape[1] for _, pixels in rows],
        "pixels": [pixels.tobytes() for _, pixels in rows],
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def _hash_batch(batch: pa.RecordBatch, digest: "hashlib._Hash") -> None:
    """Add paths, sizes and pixels of a batch to a hash; no byte is copied."""
    rows = zip(*(batch.column(name) for name in ("path", "height", "width", "pixels")), strict=True)
    for path, height, width, pixels in rows:
        digest.update(f"{path.as_py()}\0{height.as_py()}\0{width.as_py()}\0".encode())
        digest.update(pixels.as_buffer())


def open_cache(file: Path) -> tuple[list[pa.RecordBatch], dict[bytes, bytes]]:
    """Map an Arrow file of `decode_images`; return its batches and the metadata of the last one.

    Raises:
        DataError: the file is missing, cut short, or not such a file.
    """
    try:
        mapped = read_if_there(file, lambda: pa.memory_map(str(file)), known=file.parent)
        if mapped is None:
            raise DataError(f"{file}: not a whole file of decoded images (it is missing)")
        if (reader := pa.ipc.open_file(mapped)).schema != SCHEMA:
            raise DataError(f"{file}: has other columns than {SCHEMA.names}")
        batches = [
            reader.get_batch_with_custom_metadata(i) for i in range(reader.num_record_batches)
        ]
        for batch in batches:
            batch.batch.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: not a whole file of decoded images ({error})") from error
    metadata = dict(batches[-1].custom_metadata or {}) if batches else {}
    if _HASH not in metadata or _SKIPPED not in metadata:
        raise DataError(f"{file}: has no content hash")
    return [batch.batch for batch in batches[:-1]], metadata


def cache_fault(file: Path, wanted: Sequence[str]) -> str | None:
    """Return what is wrong with an Arrow file, or None if it is complete.

    It is complete if its pixels have the hash stored in it, and it holds the wanted images except
    those that it lists as skipped.
    """
    try:
        batches, metadata = open_cache(file)
        skipped = set(_skipped(file, metadata))
    except DataError as error:
        return str(error)
    status = file.stat()
    if _content_hash(file, (status.st_ino, status.st_mtime_ns, status.st_size)) != metadata[_HASH]:
        return "its pixels have changed"
    there = [path for batch in batches for path in batch.column("path").to_pylist()]
    whole = there == [path for path in wanted if path not in skipped] and skipped <= set(wanted)
    return None if whole else "it holds other images"


@lru_cache(maxsize=64)
def _content_hash(file: Path, stamp: tuple[int, int, int]) -> bytes:
    """Return a hash of paths and pixels; it is cached, since every seed has the same test split."""
    digest = hashlib.sha256()
    for batch in open_cache(file)[0]:
        _hash_batch(batch, digest)
    return digest.hexdigest().encode()


def skipped_images(file: Path) -> list[str]:
    """Return the paths of the images that were unreadable when the file was made."""
    return _skipped(file, open_cache(file)[1])


def _skipped(file: Path, metadata: dict[bytes, bytes]) -> list[str]:
    try:
        return [str(path) for path in json.loads(metadata[_SKIPPED])]
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: does not say what was skipped ({error})") from error


def highest_value(file: Path) -> int | None:
    """Return the highest value of the 16-bit images in the file before they were scaled.

    None means that it has none, or that a ``pixel_range`` says how they are scaled.
    """
    value = open_cache(file)[1].get(_HIGHEST, b"")
    return int(value) if value.isdigit() else None


def content_hash(file: Path) -> str:
    """Return the SHA-256 of paths and pixels that is stored in the file, in hexadecimal."""
    return open_cache(file)[1][_HASH].decode()


def _remove_abandoned(cache: Path) -> None:
    """Remove the files of killed processes; a running process writes to its file all the time."""
    for path in cache.glob(".*.tmp"):
        with suppress(OSError):  # another process was faster
            if time.time() - path.stat().st_mtime > 3600:  # seconds
                path.unlink()
