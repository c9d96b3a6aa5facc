"""Any image as 8-bit RGB: what becomes of its depth, its transparency and its orientation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from study.errors import DataError

PixelRange = tuple[float, float]
"""The values that become black and white, in images deeper than 8 bits a channel."""
HIGHEST = "highest 16-bit value"
"""Key of an image's ``info``: the highest value that a 16-bit image had before it was scaled."""
FULL_DEPTH = 2**16 - 1
FAR_BELOW = 8
"""A dataset of 16-bit images uses at least this part of their depth, or it is asked about."""
_SIXTEEN_BITS = frozenset({("I", "PNG"), ("I", "PPM")})
"""Mode and format of images that Pillow reads into 32 bits though they have 16."""
_UNSIGNED = 1
"""Of TIFF's sample formats."""


def to_rgb(image: Image.Image, pixel_range: PixelRange | None = None) -> Image.Image:
    """Convert an image to 8-bit RGB: scaled by its depth, over white, turned as its tag says.

    An image of 8 bits without transparency keeps every byte that Pillow's own conversion gives.
    The scale of a deeper one follows from its format or from ``pixel_range``, never from its own
    values, which would make a dark and a bright image one.

    Args:
        image: as Pillow opened it; the first of several frames.
        pixel_range: what becomes black and white in images deeper than 8 bits.

    Returns:
        A new image without metadata, except `HIGHEST`.

    Raises:
        DataError: the image is deep, and nothing says which values are black and white.
        Exception: whatever Pillow's decoders raise for broken bytes.
    """
    info: dict[str | tuple[int, int], Any] = {}
    flat = image
    if image.mode.partition(";")[0] in ("I", "F"):
        flat, highest = _eight_bits(image, pixel_range)
        info = {} if highest is None else {HIGHEST: highest}
    elif image.has_transparency_data:
        flat = Image.new("RGBA", image.size, "white")
        flat.alpha_composite(image.convert("RGBA"))
    rgb = flat.convert("RGB")
    # Pillow's function rewrites all metadata, which fails where some of them are broken.
    rgb.info = info
    rgb.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    ImageOps.exif_transpose(rgb, in_place=True)
    return rgb


def checked_range(values: Sequence[float]) -> PixelRange:
    """Return a lower and an upper bound as a range.

    Raises:
        DataError: they are not two finite numbers, the lower one first.
    """
    if len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf:
        raise DataError(
            f"pixel_range is {list(values)}; allowed are two finite numbers, the lower one first"
        )
    return values[0], values[1]


def dark_images(highest: int | None) -> str | None:
    """Ask about 16-bit images that use a small part of their depth; None where they do not.

    Args:
        highest: the highest value of all 16-bit images that were read; None: there were none.
    """
    if not highest or highest * FAR_BELOW >= FULL_DEPTH:
        return None
    bits = highest.bit_length()
    return (
        f"its 16-bit images are nearly black: their highest value is {highest}, and white is "
        f"{FULL_DEPTH}; if they hold {bits} bits, data.pixel_range=[0, {2**bits - 1}] is meant"
    )


def _eight_bits(
    image: Image.Image, pixel_range: PixelRange | None
) -> tuple[Image.Image, int | None]:
    """Scale a deep image to 8 bits, and return its highest value where its 16 bits set the scale.

    Raises:
        DataError: see `to_rgb`.
    """
    image.load()  # a TIFF is turned by this, and may change its size
    tags = getattr(image, "tag_v2", {})
    bits = None
    if image.mode.startswith("I;16"):
        (bits,) = tags.get(ExifTags.Base.BitsPerSample, (16,))
    elif (image.mode, image.format) in _SIXTEEN_BITS:
        bits = 16
    values = np.asarray(image)
    if image.mode == "I" and tags.get(ExifTags.Base.SampleFormat, (0,))[0] == _UNSIGNED:
        values = values.view(np.uint32)
    if np.isnan(values).any():
        raise DataError("has pixels that are not a number")
    low, high = pixel_range or _range_of(image, values, bits)
    if bits is None:
        levels = _levels(values, low, high)
    else:
        levels = _levels(np.arange(FULL_DEPTH + 1), low, high)[values]
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        levels = 255 - levels  # zero is white, which Pillow heeds up to 8 bits
    if "transparency" in image.info:
        levels[values == image.info["transparency"]] = 255
    measured = bits == 16 and pixel_range is None and values.size
    return Image.fromarray(levels), int(values.max()) if measured else None


def _range_of(image: Image.Image, values: NDArray[Any], bits: int | None) -> PixelRange:
    """Return what is black and white in an image by its format alone."""
    if bits is not None:
        return 0, 2**bits - 1
    if image.mode == "F" and bool(((values >= 0) & (values <= 1)).all()):
        return 0, 1
    kind = "floating-point numbers" if image.mode == "F" else "integers of 32 bits or with a sign"
    raise DataError(
        f"has {kind} from {values.min():g} to {values.max():g} as pixels, and nothing says which "
        "are black and white; allowed are 8 and 16 bits, floating-point numbers from 0 to 1, and "
        "others with data.pixel_range=[LOW, HIGH]"
    )


def _levels(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map low to 0 and high to 255, linearly, and clip what is outside."""
    share = np.clip((values - float(low)) / (float(high) - float(low)), 0, 1)
    return np.rint(share * 255).astype(np.uint8)
