"""Decode images once into one Arrow file that every process maps into memory."""

import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from study.backbones.framing import CLIP_FRAMING, Framing
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.table import (
    HASH,
    SCHEMA,
    SKIPPED,
    ImageTable,
    cache_fault,
    hash_batch,
)
from study.data.records import ImagePaths, ImageSource, in_chunks, listed
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
    framing: Framing = CLIP_FRAMING,
) -> NDArray[np.uint8]:
    """Bring an image to a model's size, or keep it whole for augmentation.

    Args:
        image: the image.
        size: the width and height of the model's input, in pixels.
        keep_aspect: whether to keep the whole image.
        framing: how the image is brought to the size, unless it is kept whole.

    Returns:
        (size, size, 3) uint8; with keep_aspect (height, width, 3) uint8, whose shorter side is at
        most 2 · size.
    """
    # The import takes a second, and is not needed where all images are decoded already.
    from torchvision.transforms.v2 import InterpolationMode, functional

    if not keep_aspect:
        sides = [size]
        if framing.squash:
            sides = [size, size]
        resized = functional.resize(image, sides, InterpolationMode(framing.interpolation))
        image = functional.center_crop(resized, [size])
    elif min(image.size) > 2 * size:
        image = functional.resize(image, [2 * size], InterpolationMode.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class ImageCache:
    """Where the decoded images of a dataset are stored, and in which size and shape."""

    folder: Path
    """The folder of the Arrow files."""
    key: str
    """The start of the file's name, such as the dataset's name."""
    size: int
    """The width and height of the model's input, in pixels."""
    keep_aspect: bool = False
    """Whether to keep whole images for augmentation, their shorter side at most 2 · size."""

    def file(self, source: ImageSource, paths: ImagePaths, framing: Framing) -> Path:
        """Return the path of the images' Arrow file; its name depends on every image.

        Args:
            source: the source of the images.
            paths: the images.
            framing: how they are brought to the size, unless they are kept whole.
        """
        form = "whole"
        if not self.keep_aspect:
            form = f"{'squashed' if framing.squash else 'square'}-{framing.interpolation}"
        contents = [f"{PREPROCESSING} {form} {self.size}"]
        contents += [f"{path}\0{source.stamp(path)}" for path in paths]
        digest = sha256_of("\n".join(contents).encode())
        name = re.sub(r"[^\w.-]", "-", self.key)[:80]
        return self.folder / f"{name}-{self.size}-{form}-{digest[:16]}.arrow"


def decode_images(
    source: ImageSource,
    paths: ImagePaths,
    cache: ImageCache,
    *,
    reading: ImageReading = DEFAULT_READING,
    progress: ImageCounter | None = None,
) -> Path:
    """Decode images into one Arrow IPC file, or use the complete one that exists.

    Several processes or nodes may do this at once: each writes a file of its own and renames it
    when it is complete. An existing file is used only if its pixels have the hash stored in it.

    Args:
        source: opens the images.
        paths: the images; a repeated path is decoded once.
        cache: the folder of the file, and the size and shape of its images.
        reading: how the images are framed, and what to do about unreadable ones. The source
            applies all other fields, and its stamps contain them.
        progress: called with (images done, images in all).

    Returns:
        The file, with the columns path, height, width and pixels (height · width · 3 uint8, row by
        row).

    Raises:
        DataError: images are unreadable; the message names them.
        StorageError: the cache cannot be written.
    """
    distinct = list(dict.fromkeys(paths))
    file = cache.file(source, distinct, reading.framing)
    if file.exists():
        fault = cache_fault(file, distinct, reading.on_corrupt)
        if fault is None:
            skipped = ImageTable(file).skipped
            if skipped:
                logger.warning("skipped, unless %s is deleted: %s", file, listed(skipped))
            if progress is not None:
                progress(len(distinct), len(distinct))
            return file
        logger.warning("%s: %s; decoding again", file, fault)
    cache.folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(cache.folder)
    decoder = _Decoder(source, distinct, cache, reading, progress)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        decoder.write(temporary)
        skipped = decoder.skipped
        if skipped and len(skipped) == len(distinct):
            raise DataError(
                f"{cache.key}: none of {len(distinct)} images is readable: {listed(skipped)}"
            )
        temporary.replace(file)
        with suppress(OSError):  # some file systems refuse it
            sync_folder(cache.folder)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


_Row = dict[str, Any]
"""The columns of one decoded image."""


@dataclass
class _Decoder:
    """The decoding of images into one file, and what is noticed about them on the way."""

    source: ImageSource
    paths: ImagePaths
    cache: ImageCache
    reading: ImageReading
    progress: ImageCounter | None
    skipped: list[str] = field(default_factory=list)
    """The images that are left out because they are unreadable."""

    def write(self, file: Path) -> None:
        """Write the images in batches, then an empty batch with the hash.

        Threads decode a few images ahead, since Pillow releases Python's global lock.
        """
        digest = hashlib.sha256()
        workers = min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool, file.open("wb") as sink:
            with pa.ipc.new_file(sink, SCHEMA) as writer:
                rows = self._readable_rows(pool)
                for chunk in iter(lambda: list(islice(rows, ROWS)), []):
                    batch = pa.RecordBatch.from_pylist(chunk, schema=SCHEMA)
                    hash_batch(batch, digest)
                    writer.write_batch(batch)
                # The hash is known only now, and an Arrow file's own metadata come first.
                metadata = {
                    HASH: digest.hexdigest().encode(),
                    SKIPPED: json.dumps(self.skipped).encode(),
                }
                writer.write_batch(pa.RecordBatch.from_pylist([], SCHEMA), custom_metadata=metadata)
            sink.flush()
            os.fsync(sink.fileno())

    def _readable_rows(self, pool: ThreadPoolExecutor) -> Iterator[_Row]:
        """Yield the row of each readable image, in the order of the paths.

        Raises:
            DataError: an image is unreadable, and such images are not skipped.
        """
        decoded = chain.from_iterable(
            pool.map(self._decode, chunk) for chunk in in_chunks(self.paths, ROWS)
        )
        for done, (path, row) in enumerate(zip(self.paths, decoded, strict=True), start=1):
            if isinstance(row, DataError):
                if self.reading.on_corrupt == "fail":
                    pool.shutdown(cancel_futures=True)  # no further image of the chunk
                    raise DataError(
                        f"{row}; --check --images finds all such images, and "
                        "data.on_corrupt=skip leaves them out"
                    ) from row
                logger.warning("skipped: %s", row)
                self.skipped.append(path)
            else:
                yield row
            if self.progress is not None:
                self.progress(done, len(self.paths))

    def _decode(self, path: str) -> _Row | DataError:
        """Return the row of an image, or the error if it is unreadable."""
        try:
            image = self.source.open_image(path)
        except DataError as error:
            return error
        cache = self.cache
        framing = self.reading.framing
        pixels = preprocess(image, size=cache.size, keep_aspect=cache.keep_aspect, framing=framing)
        height, width, _ = pixels.shape
        return {"path": path, "height": height, "width": width, "pixels": pixels.tobytes()}


def _remove_abandoned(cache: Path) -> None:
    """Remove the files of killed processes; a running process writes to its file all the time."""
    for path in cache.glob(".*.arrow.*.tmp"):
        with suppress(OSError):  # another process was faster
            if time.time() - path.stat().st_mtime > 3600:  # seconds
                path.unlink()
