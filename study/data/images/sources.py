"""Sources of images: files below a folder, tables, arrays, and the forms that callers pass."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from study.data.data_internals import table_fingerprint
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.rgb import to_rgb
from study.data.records import listed, relative_path
from study.errors import DataError
from study.storage.atomic import PASSING, StorageError

LONGEST = 200
"""The characters of a value in a message."""
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are decoded, whatever the suffix; for others, Pillow may start programs."""
IMAGE_SUFFIXES = frozenset(
    ".bmp .gif .jfif .jpe .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
"""The suffixes, in lower case, that distinguish images from the other files of a folder."""
START_OF_SCAN = b"\xff\xda"
"""The marker before each scan of a JPEG, which its encoded pixels cannot contain."""
MOST_PASSES = 100
"""How many images of the largest size that Pillow does not warn of a JPEG's scans may pass."""
FORMS = (
    "a path, encoded bytes, base64 text, a Pillow image, or (height, width) or "
    "(height, width, 1, 3 or 4) integers from 0 to 255 that are not of type uint16"
)


def read_image(
    file: Path | io.BytesIO | Image.Image, *, path: str, reading: ImageReading = DEFAULT_READING
) -> Image.Image:
    """Decode one image completely, as RGB; see `to_rgb`.

    Args:
        file: the file, or its contents, or an image of a file that Pillow may read only now.
        path: the image's name in messages.
        reading: how it is read.

    Raises:
        DataError: the image cannot be read or is not complete.
        StorageError: the file system fails to read it at present.
    """
    try:
        # To read a named pipe might never end.
        if isinstance(file, Path) and file.exists() and not file.is_file():
            raise DataError("not a file but a folder, a named pipe or a device")
        if isinstance(file, Image.Image):
            _refuse_many_scans(file)
            return to_rgb(file, reading)
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            _refuse_many_scans(image)
            return to_rgb(image, reading)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{path}: has more than {most:,} pixels, which could fill the memory; "
            "expected a smaller image"
        ) from error
    except Exception as error:  # decoders raise whatever broken bytes lead them to
        if isinstance(error, OSError) and error.errno in PASSING:
            # The image is sound, and must not be left out as corrupt.
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        reason = str(error)[:LONGEST]
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is empty, or begins like none of {', '.join(IMAGE_FORMATS)}"
        raise DataError(f"{path}: not a readable image ({reason})") from error


def _refuse_many_scans(image: Image.Image) -> None:
    """Raise DataError if a JPEG has more scans than can be decoded within seconds.

    Each scan passes all pixels, and one of a few bytes may say that nothing changes.
    """
    encoded = getattr(image, "fp", None)
    if Image.MAX_IMAGE_PIXELS is None or encoded is None or image.format not in ("JPEG", "MPO"):
        return
    place = encoded.tell()
    encoded.seek(0)
    scans = encoded.read().count(START_OF_SCAN)
    encoded.seek(place)
    most = MOST_PASSES * Image.MAX_IMAGE_PIXELS
    if scans * image.width * image.height > most:
        raise DataError(
            f"has {scans} scans of {image.width} × {image.height} pixels, which would take "
            f"very long to decode; expected {most:,} pixels in all scans: save it again"
        )


@dataclass(frozen=True)
class FolderSource:
    """Images in files below one folder."""

    root: Path
    """The dataset's folder."""
    by_class: bool = False
    """Whether the root has a folder for each class, all images of which are meant."""
    reading: ImageReading = DEFAULT_READING
    """How the images are read."""

    def open_image(self, path: str) -> Image.Image:
        """Open one image as RGB; links in the folder are followed."""
        return read_image(self.encoded(path), path=f"{self.root}/{path}", reading=self.reading)

    def encoded(self, path: str) -> Path:
        """Return the file of an image; a DataError is raised for a path that leaves the folder."""
        return self.root / relative_path(path, where=str(self.root))

    def stamp(self, path: str) -> str:
        """Return the size and time of an image's file, and how it is read; "" if it is missing."""
        try:
            status = (self.root / path).stat()
        except OSError:
            return ""
        return f"{status.st_size} {status.st_mtime_ns} {self.reading.pixel_range}"


@dataclass(frozen=True)
class ArraySource:
    """Grey images held in memory."""

    name: str
    """The name of the dataset."""
    images: Mapping[str, NDArray[np.uint8]] = field(repr=False)
    """The pixels of each image by its id, (height, width) uint8."""

    def open_image(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        return to_rgb(Image.fromarray(self.images[path]))

    def stamp(self, path: str) -> str:
        """Return the dataset's name: the images of a packaged dataset never change."""
        return self.name


@dataclass(frozen=True)
class HubSource:
    """The images in the tables of the `datasets` library."""

    name: str
    """The dataset's name, for messages."""
    column: str
    """The name of the column that holds the images."""
    tables: Mapping[str, Any] = field(repr=False)
    """The table of each split."""
    folders: tuple[Path, ...]
    """The folders where the library keeps files; no file outside them is opened."""
    reading: ImageReading = DEFAULT_READING
    """How the images are read."""

    def open_image(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        return read_image(self.encoded(path), path=f"{self.name} {path}", reading=self.reading)

    def encoded(self, path: str) -> io.BytesIO | Path:
        """Return the encoded bytes of an image, or the file that holds them.

        Raises:
            DataError: if the image is empty, or its file is outside the folders.
        """
        split, _, number = path.partition("/")
        cell = self.tables[split][int(number)][self.column] or {}
        contents = cell.get("bytes")
        if contents:
            return io.BytesIO(contents)
        link = cell.get("path")
        if not link:
            raise DataError(f"{path}: the image of {self.name} is empty")
        file = Path(link).resolve()
        if not any(file.is_relative_to(folder.resolve()) for folder in self.folders):
            folders = listed(str(folder) for folder in self.folders)
            raise DataError(f"{path}: {self.name} points to {file}, outside {folders}")
        return file

    def save(self, folder: Path) -> None:
        """Write all images and labels into a new folder, from which `data.root` reads them."""
        tables: Any = self.tables
        tables.save_to_disk(str(folder))

    def stamp(self, path: str) -> str:
        """Return the `datasets` library's hash of the image's table, and how it is read."""
        split = path.partition("/")[0]
        return f"{table_fingerprint(self.tables[split])} {self.reading.pixel_range}"


def read_any_image(
    value: Any, *, files: bool = True, reading: ImageReading = DEFAULT_READING
) -> Image.Image:
    """Read an image in any of `FORMS` as RGB, converted like the images of a dataset.

    Text is read as base64 or a ``data:`` URL if it decodes to an image, else as a path.

    Args:
        value: the image; nested lists count as an array.
        files: whether text may be a path; a server must not open the paths that clients send.
        reading: how it is read.

    Raises:
        DataError: the value is not a readable image; the message says what is allowed.
    """
    read = partial(read_image, reading=reading)
    if isinstance(value, Image.Image):
        return read(value, path=f"a Pillow image of mode {value.mode}")
    if isinstance(value, bytes | bytearray | memoryview):
        return read(io.BytesIO(value), path=f"{len(value)} bytes")
    if isinstance(value, np.ndarray | list | tuple):
        return _read_array(value, reading)
    if isinstance(value, str):
        contents = _decode_base64(value)
        if contents is not None:
            return read(io.BytesIO(contents), path=f"{len(value)} characters of base64")
    if not isinstance(value, str | Path):
        raise DataError(f"got {type(value).__name__}; an image is {FORMS}")
    if not files:
        raise DataError(
            f"got text that is not an image in base64 ({str(value)[:40]!r}); "
            "paths are not opened here, send the image itself"
        )
    return read(Path(value), path=str(value)[:LONGEST])


def encode_base64(image: Image.Image) -> str:
    """Return an image as base64 of a PNG, which loses nothing and can be part of JSON."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _decode_base64(text: str) -> bytes | None:
    """Return the contents of the image that base64 text or a ``data:`` URL encodes, else None."""
    encoded = text
    if text.startswith("data:"):
        _, _, encoded = text.partition(",")
    try:
        contents = base64.b64decode("".join(encoded.split()), validate=True)
        # A path that is valid base64 does not begin like an image.
        Image.open(io.BytesIO(contents), formats=IMAGE_FORMATS).close()
    except Exception:  # as in `read_image`
        return None
    return contents


def _read_array(value: NDArray[Any] | Sequence[Any], reading: ImageReading) -> Image.Image:
    """Return an array, or nested lists, as an RGB image.

    Raises:
        DataError: the array has another shape, type or range than `FORMS` says.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"got lists of different lengths; an image is {FORMS}") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    has_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    # In 16 bits, values up to 255 could be a dark image or an 8-bit one.
    is_whole = np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint16
    is_image = has_shape and is_whole and array.size > 0
    if not is_image or array.min() < 0 or array.max() > 255:
        raise DataError(f"got an array {array.shape} of {array.dtype}; an image is {FORMS}")
    return to_rgb(Image.fromarray(array.astype(np.uint8)), reading)
