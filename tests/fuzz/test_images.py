"""Whatever bytes an image has: pixels of the right shape, or one reported error."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from study.data.images.decode import preprocess
from study.data.images.image_reading import ImageReading, PixelRange
from study.data.images.sources import read_any_image
from study.errors import DataError
from tests.pictures import RGB, chunk, known_pictures, saved, turned

from .conftest import few_cases, study_errors_allowed

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SIZE = 16


def encoded(form: str, mode: str, **options: object) -> bytes:
    """Encode a small image."""
    return saved(Image.linear_gradient("L").resize((20, 30)).convert(mode), form, **options)


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """Return a PNG that says to have this size, whatever its pixels are."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


GREY = chunk(b"IDAT", zlib.compress(b"\0" * 4096))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(owned) (w) file\n"
SOUND = [
    *(encoded("PNG", mode) for mode in ("L", "RGB", "RGBA", "P", "1", "LA", "I;16")),
    *(encoded(form, "RGB") for form in ("JPEG", "BMP", "PPM", "TIFF", "WEBP")),
    *(encoded("TIFF", mode, compression="tiff_lzw") for mode in ("L", "RGB", "P")),
    encoded("JPEG", "CMYK", progressive=True),
    *(picture.contents for picture in known_pictures()),
    *(turned(RGB, 6, form) for form in ("JPEG", "PNG", "TIFF", "WEBP")),
    *(png(width, height, GREY) for width, height in ((1, 4000), (0, 5), (2**31 - 1, 2**31 - 1))),
    png(40, 40, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 10**7)), GREY),
    png(40, 40, chunk(b"iCCP", b"k\0\0" + zlib.compress(b"y" * 10**5)), GREY),
    b"P6 1 4000 255\n" + b"x" * 12000,
    EPS,
]


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """Damage the bytes of an image: spoil, cut, double, or put another's in."""
    data = draw(st.sampled_from(SOUND))
    for _ in range(draw(st.integers(0, 4))):
        # Headers are where the sizes are.
        at = draw(st.integers(0, draw(st.sampled_from([min(64, len(data)), len(data)]))))
        spoil = draw(st.sampled_from([b"\0", b"\1", b"\x7f", b"\x80", b"\xff"]) | st.binary())
        rest = [
            spoil + data[at + len(spoil) :],
            b"",
            data[max(0, at - 20) :],
            draw(st.sampled_from(SOUND))[at:],
            data[at + draw(st.integers(1, 9)) :],
        ]
        data = data[:at] + draw(st.sampled_from(rest))
    return data


@few_cases()
@given(
    images() | st.binary(max_size=200),
    st.booleans(),
    st.sampled_from([None, (0.0, 4095.0), (-1e308, 1e308)]),
)
def test_any_bytes_are_an_image_or_one_reported_error(
    content: bytes, keep_aspect: bool, pixel_range: PixelRange | None
):
    with study_errors_allowed():
        image = read_any_image(content, reading=ImageReading(pixel_range))
        pixels = preprocess(image, size=SIZE, keep_aspect=keep_aspect)
        assert (image.mode, pixels.dtype, pixels.shape[2]) == ("RGB", np.uint8, 3)
        assert keep_aspect or pixels.shape == (SIZE, SIZE, 3)


def test_an_image_far_longer_than_wide_and_one_for_another_program_are_refused():
    """At 224 pixels across the first would be 224 × 13 million: 9 gigabytes."""
    rows = zlib.compress(b"\0\0" * 60_000)
    with pytest.raises(DataError, match="1 × 60000 pixels"):
        read_any_image(png(1, 60_000, chunk(b"IDAT", rows)))
    with pytest.raises(DataError, match="not a readable image"):
        read_any_image(EPS)
