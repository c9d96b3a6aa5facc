"""Conversion of any image to 8-bit RGB, given its depth, transparency and orientation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from study.data.images.image_reading import DEFAULT_READING, ImageReading, PixelRange
from study.errors import DataError

FULL_DEPTH = 2**16 - 1
LONGEST_ASPECT = 200
"""The largest allowed ratio of the sides: a strip one pixel wide would be resized to gigabytes."""
_UNSIGNED, _SIGNED = 1, 2
"""The value of TIFF's tag SampleFormat for unsigned integers."""


def to_rgb(image: Image.Image, reading: ImageReading = DEFAULT_READING) -> Image.Image:
    """Convert an image to 8-bit RGB: scale its depth, put it on white, rotate it as its tag says.

    An 8-bit image without transparency becomes exactly what Pillow's own conversion returns. The
    scale of a deeper image follows from its format or from ``pixel_range``, never from its own
    values, since a dark and a bright image would then become the same.

    Args:
        image: the image as Pillow opened it, at the first of its frames.
        reading: how it is read.

    Returns:
        A new image without metadata.

    Raises:
        DataError: the image is deeper than 8 bits, and nothing says which values are black and
            white; some of its values are not numbers; it has no pixels, or its sides have a ratio
            above `LONGEST_ASPECT`.
        Exception: whatever Pillow's decoders raise for broken bytes.
    """
    opaque = image
    if image.mode.partition(";")[0] in ("I", "F"):
        opaque = _scale_to_8_bits(image, reading.pixel_range)
    elif image.mode == "L" and _sample_format(_tiff_tags(image)) == _SIGNED:
        raise DataError("has signed 8-bit pixels; expected unsigned ones")
    elif image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        opaque = Image.alpha_composite(white, image.convert("RGBA"))
    rgb = opaque.convert("RGB")
    # With the image's other metadata, `exif_transpose` fails if some of them are broken.
    rgb.info = {}
    rgb.getexif()[ExifTags.Base.Orientation] = _orientation(image)
    ImageOps.exif_transpose(rgb, in_place=True)
    if not 0 < max(rgb.size) <= LONGEST_ASPECT * min(rgb.size):
        raise DataError(
            f"an image of {rgb.width} × {rgb.height} pixels; expected a longer side of at "
            f"most {LONGEST_ASPECT} times the shorter one"
        )
    return rgb


def _orientation(image: Image.Image) -> int:
    """Return an image's orientation by Exif's numbers; 1, upright, if that cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow's readers raise many kinds of errors
        return 1


def _tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """Return the tags of a TIFF by their numbers; empty for other formats."""
    return getattr(image, "tag_v2", {})


def _sample_format(tags: Mapping[int, Any]) -> int:
    """Return the kind of a TIFF's numbers; unsigned is the standard's default."""
    return int(tags.get(ExifTags.Base.SampleFormat, (_UNSIGNED,))[0])


def _scale_to_8_bits(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    """Scale an image deeper than 8 bits to 8 bits.

    Raises:
        DataError: see `to_rgb`.
    """
    if pixel_range:
        pixel_range = _as_pillow_scales(pixel_range, image)
    image.load()  # this may rotate a TIFF, which changes its size
    tags = _tiff_tags(image)
    bits = None
    if image.mode.startswith("I;16"):
        (bits,) = tags.get(ExifTags.Base.BitsPerSample, (16,))
    elif image.mode == "I" and image.format in ("PNG", "PPM"):
        bits = 16  # Pillow reads them as 32 bits
    values = np.asarray(image)
    if image.mode == "I" and tags and _sample_format(tags) == _UNSIGNED:
        values = values.view(np.uint32)
    if np.isnan(values).any():
        raise DataError("has pixels that are not a number")
    black, white = pixel_range or _range_of(image, values, bits)
    if bits is None:
        levels = _levels(values, black, white)
    else:  # a table of all 16-bit values takes less time
        levels = _levels(np.arange(FULL_DEPTH + 1), black, white)[values]
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        levels = 255 - levels  # zero is white; Pillow inverts images of up to 8 bits only
    if "transparency" in image.info:
        levels[values == image.info["transparency"]] = 255
    return Image.fromarray(levels)


def _as_pillow_scales(pixel_range: PixelRange, image: Image.Image) -> PixelRange:
    """Return a range in the values that Pillow reads, which in a PPM differ from the file's."""
    match image.format, getattr(image, "tile", ()):  # there are no tiles once the image is loaded
        case "PPM", [(_, _, _, (_, maximum, *_)), *_]:
            scale = FULL_DEPTH / int(maximum)  # Pillow scales by the maximum that the file names
            return pixel_range[0] * scale, pixel_range[1] * scale
    return pixel_range


def _levels(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    """Return values from black to white as 8-bit levels, clipped."""
    return np.rint(np.interp(values, (black, white), (0, 255))).astype(np.uint8)


def _range_of(image: Image.Image, values: NDArray[Any], bits: int | None) -> PixelRange:
    """Return the values of black and white that follow from an image's format.

    Raises:
        DataError: they do not follow from it.
    """
    if bits is not None:
        return 0, 2**bits - 1
    kind = "integers of 32 bits or with a sign"
    if image.mode == "F":
        kind = "floating-point numbers"
        if ((values >= 0) & (values <= 1)).all():
            return 0, 1
    raise DataError(
        f"has {kind} from {values.min():g} to {values.max():g} as pixels, and nothing says which "
        "are black and white; expected 8 and 16 bits, floating-point numbers from 0 to 1, and "
        "others with data.pixel_range=[LOW, HIGH]"
    )
