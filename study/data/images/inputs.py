"""Images as callers hand them over: a file, encoded bytes, a Pillow image, an array, base64."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.data.images.rgb import PixelRange, to_rgb
from study.data.images.sources import IMAGE_FORMATS, read_image
from study.errors import DataError

FORMS = (
    "a path, encoded bytes, base64 text, a Pillow image, or (height, width) or "
    "(height, width, 1, 3 or 4) integers from 0 to 255 that are not of type uint16"
)


def as_image(
    value: Any, *, files: bool = True, pixel_range: PixelRange | None = None
) -> Image.Image:
    """Give an image as RGB, whatever form it came in; read as those of a dataset are.

    Text is base64 where it decodes to an image (a ``data:`` address as well), else a path.

    Args:
        value: one of `FORMS`; nested lists are an array.
        files: whether text may name a file. A server must not open what a stranger names.
        pixel_range: see `to_rgb`.

    Raises:
        DataError: naming what was given and what is allowed.
    """
    if isinstance(value, Image.Image):
        return _from_pillow(value, pixel_range)
    if isinstance(value, bytes | bytearray | memoryview):
        path = f"{len(value)} bytes"
        return read_image(io.BytesIO(value), path=path, pixel_range=pixel_range)
    if isinstance(value, np.ndarray | list | tuple):
        return _from_array(value)
    if isinstance(value, str) and (encoded := _decoded(value)) is not None:
        path = f"{len(value)} characters of base64"
        return read_image(io.BytesIO(encoded), path=path, pixel_range=pixel_range)
    if isinstance(value, str | Path):
        if files:
            return read_image(Path(value), path=str(value), pixel_range=pixel_range)
        raise DataError(
            f"got text that is no base64 of an image ({str(value)[:40]!r}); "
            "paths are not opened here, send the image itself"
        )
    raise DataError(f"got {type(value).__name__}; an image is {FORMS}")


def as_base64(image: Image.Image) -> str:
    """Give an image as text, the form in which it travels in JSON; no pixel is lost."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _decoded(text: str) -> bytes | None:
    """Decode base64 of a picture; None where the text is something else, such as a path."""
    marked = text.startswith("data:")
    encoded = text.partition(",")[2] if marked else text
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        if marked:
            raise DataError(f"the base64 of a data: address is damaged ({error})") from error
        return None
    return data if marked or _has_signature(data) else None


def _has_signature(data: bytes) -> bool:
    """Tell whether bytes begin like a picture; a path of base64 characters does not."""
    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS):
            return True
    except Exception:  # see `read_image`, which then tells what is wrong
        return False


def _from_pillow(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    try:
        return to_rgb(image, pixel_range)
    except DataError:
        raise
    except Exception as error:  # it may be an opened file that is read only now
        raise DataError(
            f"got a Pillow image of mode {image.mode} that is not readable ({error})"
        ) from error


def _from_array(value: NDArray[Any] | Sequence[Any]) -> Image.Image:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"got lists of different lengths; an image is {FORMS}") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    # Of 16 bits, values up to 255 might be a dark picture or one of 8 bits.
    whole = array.dtype not in (bool, np.uint16) and np.issubdtype(array.dtype, np.integer)
    if not shaped or not whole or array.size == 0 or array.min() < 0 or array.max() > 255:
        raise DataError(f"got an array {array.shape} of {array.dtype}; an image is {FORMS}")
    return to_rgb(Image.fromarray(array.astype(np.uint8)))
