"""Decode images once into one Arrow file that every process maps into memory."""

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from study.backbones.framing import AS_CLIP, Framing
from study.data.images.image_reading import AS_USUAL, ImageReading
from study.data.images.rgb import HIGHEST
from study.data.images.sources import is_large, large_images
from study.data.images.table import (
    HASH,
    HIGHEST_VALUE,
    SCHEMA,
    SKIPPED,
    ImageTable,
    cache_fault,
    hash_batch,
)
from study.data.records import ImageSource, OnCorrupt, StampedSource, listed
from study.errors import DataError
from study.storage.atomic import StorageError, sha256_of, sync_folder

logger = logging.getLogger(__name__)

# Part of the cache's name and of `config_hash`: raise it when a change gives images other pixels.
PREPROCESSING = 2
ROWS = 64  # images decoded and written at a time

ImageCounter = Callable[[int, int], None]
"""A function that is called with the number of images done and the number of all images."""


def preprocess(
    image: Image.Image,
    *,
    size: int,
    keep_aspect: bool,
    framing: Framing = AS_CLIP,
) -> NDArray[np.uint8]:
    """Bring an image to a model's size, or keep it whole for augmentation.

    Args:
        image: the image.
        size: the width and height of the model's input, in pixels.
        keep_aspect: whether to keep the whole image.
        framing: how it is brought to the size, unless it is kept whole.

    Returns:
        (size, size, 3) uint8; with keep_aspect (height, width, 3) uint8, whose shorter side is at
        most 2 · size.
    """
    # The import takes a second, and who finds decoded images can do without.
    from torchvision.transforms.v2 import InterpolationMode, functional

    if not keep_aspect:
        sides = [size, size] if framing.squash else [size]
        resized = functional.resize(image, sides, InterpolationMode(framing.interpolation))
        image = functional.center_crop(resized, [size])
    elif min(image.size) > 2 * size:
        image = functional.resize(image, [2 * size], InterpolationMode.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def cache_file(
    source: ImageSource,
    paths: Sequence[str],
    *,
    size: int,
    cache: Path,
    key: str,
    keep_aspect: bool,
    framing: Framing = AS_CLIP,
) -> Path:
    """Return the path of the images' Arrow file; its name depends on each image and on the size."""
    form = "whole" if keep_aspect else "square"
    if not keep_aspect and framing != AS_CLIP:
        form = f"{'squashed' if framing.squash else form} {framing.interpolation}"
    stamps = [source.stamp(p) if isinstance(source, StampedSource) else "" for p in paths]
    lines = (f"\n{path}\0{stamp}" for path, stamp in zip(paths, stamps, strict=True))
    digest = sha256_of(f"{PREPROCESSING} {form} {size}{''.join(lines)}".encode())
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in key)[:80]
    return cache / f"{name}-{size}-{form}-{digest[:16]}.arrow"


def decode_images(
    source: ImageSource,
    paths: Sequence[str],
    *,
    size: int,
    cache: Path,
    key: str,
    keep_aspect: bool = False,
    reading: ImageReading = AS_USUAL,
    progress: ImageCounter | None = None,
) -> Path:
    """Decode images into one Arrow IPC file, or use the complete one that exists.

    Several processes or nodes may do this at once: each writes a file of its own and renames it
    when it is complete. An existing file is used only if its pixels have the hash stored in it.

    Args:
        source: opens the images.
        paths: the images; a repeated path is decoded once.
        size: the width and height of the model's input, in pixels.
        cache: the folder of the Arrow files.
        key: the start of the file's name, such as the dataset's name; it distinguishes sources
            that have the same paths and no stamps.
        keep_aspect: whether to keep whole images for augmentation, shorter side at most 2 · size.
        reading: how they are framed, and what to do about unreadable ones. The rest of it is the
            source's, and in the source's stamps.
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
    shape: dict[str, Any] = {"keep_aspect": keep_aspect, "framing": reading.framing}
    file = cache_file(source, wanted, size=size, cache=cache, key=key, **shape)
    if file.exists():
        if (fault := cache_fault(file, wanted, reading.on_corrupt)) is None:
            _tell_skipped(file, source)
            count(len(wanted), len(wanted))
            return file
        logger.warning("%s: %s; decoding again", file, fault)
    cache.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(cache)
    resize = partial(preprocess, size=size, **shape)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        skipped = _write(temporary, source, wanted, resize, reading.on_corrupt, count)
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


def _tell_skipped(file: Path, source: ImageSource) -> None:
    """Log the images that a complete file lacks, and those of them that can be read by now.

    It is not made anew for these: studies that have begun go on with what they had.
    """
    for path in ImageTable(file).skipped:
        try:
            source.open(path)
        except DataError as error:
            logger.warning("skipped: %s", error)
        else:
            logger.warning(
                "skipped: %s: could not be read once, and can be by now; new studies read it if %s "
                "is deleted",
                path,
                file,
            )


def _write(
    file: Path,
    source: ImageSource,
    paths: Sequence[str],
    resize: Callable[[Image.Image], NDArray[np.uint8]],
    on_corrupt: OnCorrupt,
    count: ImageCounter,
) -> list[str]:
    """Write images in batches, then an empty batch with the hash; return the skipped paths.

    Threads decode a few images ahead, since Pillow releases Python's global lock.
    """
    digest = hashlib.sha256()
    skipped: list[str] = []
    highest: list[int] = []
    large: dict[str, tuple[int, int]] = {}

    def decode(path: str) -> dict[str, Any] | DataError:
        try:
            image = source.open(path)
        except DataError as error:
            return error
        if HIGHEST in image.info:
            highest.append(image.info[HIGHEST])
        if is_large(image):
            large[path] = image.size
        pixels = resize(image)
        return {
            "path": path,
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "pixels": pixels.tobytes(),
        }

    def readable(pool: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
        chunks = (paths[start : start + ROWS] for start in range(0, len(paths), ROWS))
        rows = chain.from_iterable(pool.map(decode, chunk) for chunk in chunks)
        for done, (path, row) in enumerate(zip(paths, rows, strict=True), start=1):
            if not isinstance(row, DataError):
                yield row
            elif on_corrupt == "fail":
                raise DataError(
                    f"{row}; --check --images finds all such images, and data.on_corrupt=skip "
                    "leaves them out"
                ) from row
            else:
                logger.warning("skipped: %s", row)
                skipped.append(path)
            count(done, len(paths))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, file.open("wb") as sink:
        rows = readable(pool)
        with pa.ipc.new_file(sink, SCHEMA) as writer:
            while chunk := list(islice(rows, ROWS)):
                batch = pa.RecordBatch.from_pylist(chunk, schema=SCHEMA)
                hash_batch(batch, digest)
                writer.write_batch(batch)
            # The hash is known only now, and an Arrow file's own metadata come first.
            end = {
                HASH: digest.hexdigest().encode(),
                SKIPPED: json.dumps(skipped).encode(),
                HIGHEST_VALUE: str(max(highest, default="")).encode(),
            }
            writer.write_batch(pa.RecordBatch.from_pylist([], SCHEMA), custom_metadata=end)
        sink.flush()
        os.fsync(sink.fileno())
    if warning := large_images(large):
        logger.warning("%s", warning)
    return skipped


def _remove_abandoned(cache: Path) -> None:
    """Remove the files of killed processes; a running process writes to its file all the time."""
    for path in cache.glob(".*.tmp"):
        with suppress(OSError):  # another process was faster
            if time.time() - path.stat().st_mtime > 3600:  # seconds
                path.unlink()
