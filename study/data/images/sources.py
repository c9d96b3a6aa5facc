"""Sources of images: files below a folder, or arrays in memory."""

import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.data.images.rgb import PixelRange, to_rgb
from study.data.records import relative_path
from study.errors import DataError
from study.storage.atomic import PASSING, StorageError

LONGEST = 200
"""The characters of a value in a message."""
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are decoded, whatever the suffix; for others, Pillow may start programs."""
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_fault(file: Path) -> str | None:
    """Return what a path is if not a regular file, else None.

    Reading something else, such as a named pipe, might never end.

    Raises:
        OSError: the path does not exist or may not be accessed.
    """
    mode = file.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    return f"not a file but {_KINDS.get(stat.S_IFMT(mode), 'something else')}"


def read_image(
    file: Path | io.BytesIO, *, path: str, pixel_range: PixelRange | None = None
) -> Image.Image:
    """Decode one image completely, as RGB; see `to_rgb`.

    Args:
        file: the file, or its contents.
        path: the image's name in messages.
        pixel_range: see `to_rgb`.

    Raises:
        DataError: the image cannot be read or is not complete.
        StorageError: the file system does not give it at present.
    """
    try:
        if isinstance(file, Path) and (fault := kind_fault(file)):
            raise DataError(fault)
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return to_rgb(image, pixel_range)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image") from error
    except Exception as error:  # decoders raise whatever broken bytes lead them to
        if isinstance(error, OSError) and error.errno in PASSING:
            # The image is sound, and must not be left out as corrupt.
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        raise DataError(f"{path}: not a readable image ({str(error)[:LONGEST]})") from error


@dataclass(frozen=True)
class FolderSource:
    """Images in files below one folder."""

    root: Path
    """The dataset's folder."""
    anchors: tuple[str, ...] = ()
    """Folders below the root that may be symbolic links, as is common for large datasets.

    Every image must be in the root or in a folder to which an anchor points."""
    pixel_range: PixelRange | None = None
    """The values that become black and white in deep images; see `to_rgb`."""

    @cached_property
    def _allowed(self) -> tuple[Path, ...]:
        return tuple((self.root / anchor).resolve() for anchor in ("", *self.anchors))

    def locate(self, path: str) -> Path:
        """Return the file of an image.

        Raises:
            DataError: the path leaves the dataset's folder, by ".." or by a symbolic link, or its
                links form a circle.
        """
        try:
            file = (self.root / relative_path(path, where=str(self.root))).resolve()
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path}: leads nowhere from {self.root} ({error})") from error
        if not any(file.is_relative_to(allowed) for allowed in self._allowed):
            raise DataError(
                f"{path}: a symbolic link leads out of the dataset's folder {self.root} to {file}; "
                "copy the images there, or make the dataset's folder itself the link"
            )
        return file

    def open(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        return read_image(
            self.locate(path), path=f"{self.root}/{path}", pixel_range=self.pixel_range
        )

    def stamp(self, path: str) -> str:
        """Return the size and time of an image's file, and how it is read; "" if it is missing."""
        try:
            status = (self.root / path).stat()
        except OSError:
            return ""
        return f"{status.st_size} {status.st_mtime_ns} {self.pixel_range}"


@dataclass(frozen=True)
class ArraySource:
    """Grey images held in memory."""

    name: str
    """The name of the dataset, for messages."""
    images: Mapping[str, NDArray[np.uint8]] = field(repr=False)
    """The pixels of each image by its id, (height, width) uint8."""

    def open(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        if (pixels := self.images.get(path)) is None:
            raise DataError(f"{path}: dataset {self.name} has no such image")
        return to_rgb(Image.fromarray(pixels))
