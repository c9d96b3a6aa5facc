"""Whatever bytes an image has: pixels of the right shape, or one told error."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from study.data.images.decode import ImageCache, decode_images, preprocess
from study.data.images.image_reading import ImageReading, PixelRange
from study.data.images.sources import FolderSource, read_any_image
from study.errors import DataError
from tests.pictures import RGB, known_pictures, turned

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SIZE = 16


def encoded(form: str, mode: str, size: tuple[int, int] = (20, 30), **options: object) -> bytes:
    """Encode a small image."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Give a chunk of a PNG with a valid checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """Give a PNG that says to have this size, whatever its pixels are."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


GREY = chunk(b"IDAT", zlib.compress(b"\0" * 4096))
SOUND = [
    *(encoded("PNG", mode) for mode in ("L", "RGB", "RGBA", "P", "1", "LA", "I;16")),
    *(encoded("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(encoded(form, "RGB") for form in ("BMP", "PPM", "TIFF", "WEBP")),
    *(encoded("TIFF", mode, compression="tiff_lzw") for mode in ("L", "RGB", "P")),
    encoded("GIF", "P"),
    encoded("JPEG", "RGB", progressive=True),
    *(picture.contents for picture in known_pictures()),
    *(turned(RGB, 6, form) for form in ("JPEG", "PNG", "TIFF", "WEBP")),
    png(1, 4000, GREY),
    png(0, 5, GREY),
    png(2**31 - 1, 2**31 - 1, GREY),
    png(40, 40, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 10**7)), GREY),
    png(40, 40, chunk(b"iCCP", b"k\0\0" + zlib.compress(b"y" * 10**5)), GREY),
    b"P6 1 4000 255\n" + b"x" * 12000,
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(owned) (w) file\n",
]


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """Damage the bytes of an image: spoil, cut, double, or put another's in."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(0, 4))):
        # Headers are where the sizes are.
        end = draw(st.sampled_from([min(64, len(data)), len(data)]))
        at = draw(st.integers(0, max(0, end - 1)))
        change = draw(st.sampled_from(["spoil", "spoil", "cut", "double", "splice", "drop"]))
        if change == "spoil" and data:
            data[at] = draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
        elif change == "cut":
            data = data[:at]
        elif change == "double":
            data[at:at] = data[at : at + 20]
        elif change == "splice":
            data[at:] = draw(st.sampled_from(SOUND))[at:]
        else:
            del data[at : at + draw(st.integers(1, 9))]
    return bytes(data)


@settings(deadline=None)
@given(
    images() | st.binary(max_size=200),
    st.booleans(),
    st.sampled_from([None, (0.0, 4095.0), (-1e308, 1e308)]),
)
def test_any_bytes_are_an_image_or_one_told_error(
    content: bytes, keep_aspect: bool, pixel_range: PixelRange | None
) -> None:
    try:
        image = read_any_image(content, reading=ImageReading(pixel_range))
        pixels = preprocess(image, size=SIZE, keep_aspect=keep_aspect)
    except DataError as error:
        str(error).encode()
        return
    assert image.mode == "RGB"
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    if not keep_aspect:
        assert pixels.shape == (SIZE, SIZE, 3)


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.text("data:image/png;base64,iVBORw0KGgo=/", max_size=40),
        st.lists(st.lists(st.integers() | st.floats() | st.none() | st.text(max_size=2))),
        st.lists(st.lists(st.lists(st.integers(-1, 256), max_size=4), max_size=4), max_size=4),
        st.none() | st.booleans() | st.integers() | st.dictionaries(st.text(), st.none()),
    )
)
def test_whatever_is_handed_over_is_an_image_or_one_told_error(value: object) -> None:
    for files in (True, False):
        try:
            image = read_any_image(value, files=files)
            assert preprocess(image, size=4, keep_aspect=False).any() in (True, False)
        except DataError as error:
            str(error).encode()


def test_an_image_far_longer_than_wide_is_refused_and_named(tmp_path: Path) -> None:
    """At 224 pixels across it would be 224 × 13 million: 9 gigabytes."""
    rows = zlib.compress(b"\0\0" * 60_000)
    (tmp_path / "thin.png").write_bytes(png(1, 60_000, chunk(b"IDAT", rows)))
    with pytest.raises(DataError, match=r"thin\.png.* 1 × 60000 pixels"):
        decode_images(FolderSource(tmp_path), ["thin.png"], ImageCache(tmp_path, "k", size=224))


def test_a_file_that_pillow_would_hand_to_another_program_is_no_image() -> None:
    eps = SOUND[-1]
    with pytest.raises(DataError, match="not a readable image"):
        read_any_image(eps)
