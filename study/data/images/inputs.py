"""Images in the forms that callers pass: a file, encoded bytes, a Pillow image, array or base64."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.data.images.rgb import PixelRange, to_rgb
from study.data.images.sources import IMAGE_FORMATS, LONGEST, read_image
from study.errors import DataError

FORMS = (
    "a path, encoded bytes, base64 text, a Pillow image, or (height, width) or "
    "(height, width, 1, 3 or 4) integers from 0 to 255 that are not of type uint16"
)


def as_image(
    value: Any, *, files: bool = True, pixel_range: PixelRange | None = None
) -> Image.Image:
    """Return an image in any of `FORMS` as RGB, converted as the images of a dataset are.

    Text counts as base64 if it is a ``data:`` URL or decodes to an image, else as a path.

    Args:
        value: the image; nested lists count as an array.
        files: whether text may be a path; a server must not open the paths that clients send.
        pixel_range: see `to_rgb`.

    Raises:
        DataError: the value is not a readable image; the message says what is allowed.
    """
    if isinstance(value, Image.Image):
        try:
            return to_rgb(value, pixel_range)
        except DataError:
            raise
        except Exception as error:  # the image may be a file that Pillow reads only now
            raise DataError(
                f"got a Pillow image of mode {value.mode} that is not readable ({error})"
            ) from error
    if isinstance(value, bytes | bytearray | memoryview):
        return read_image(io.BytesIO(value), path=f"{len(value)} bytes", pixel_range=pixel_range)
    if isinstance(value, np.ndarray | list | tuple):
        return _from_array(value)
    if isinstance(value, str) and (encoded := _decoded(value)) is not None:
        path = f"{len(value)} characters of base64"
        return read_image(io.BytesIO(encoded), path=path, pixel_range=pixel_range)
    if isinstance(value, str | Path):
        if files:
            return read_image(Path(value), path=str(value)[:LONGEST], pixel_range=pixel_range)
        raise DataError(
            f"got text that is no base64 of an image ({str(value)[:40]!r}); "
            "paths are not opened here, send the image itself"
        )
    raise DataError(f"got {type(value).__name__}; an image is {FORMS}")


def as_base64(image: Image.Image) -> str:
    """Return an image as base64 of a PNG, which loses nothing and can be part of JSON."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _decoded(text: str) -> bytes | None:
    """Return the image that base64 text encodes; None for other text, such as a path.

    Raises:
        DataError: the base64 of a ``data:`` URL is damaged.
    """
    marked = text.startswith("data:")
    encoded = text.partition(",")[2] if marked else text
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
        if not marked:  # a path that is valid base64 does not begin like an image
            Image.open(io.BytesIO(data), formats=IMAGE_FORMATS).close()
    except Exception as error:  # as in `read_image`
        if marked:
            raise DataError(f"the base64 of a data: address is damaged ({error})") from error
        return None
    return data


def _from_array(value: NDArray[Any] | Sequence[Any]) -> Image.Image:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"got lists of different lengths; an image is {FORMS}") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    # In 16 bits, values up to 255 could be a dark image or an 8-bit one.
    whole = array.dtype not in (bool, np.uint16) and np.issubdtype(array.dtype, np.integer)
    if not shaped or not whole or array.size == 0 or array.min() < 0 or array.max() > 255:
        raise DataError(f"got an array {array.shape} of {array.dtype}; an image is {FORMS}")
    return to_rgb(Image.fromarray(array.astype(np.uint8)))
