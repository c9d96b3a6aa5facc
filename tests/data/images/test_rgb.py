"""Known pictures of every kind are the same 8-bit RGB wherever an image is read."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from study.data.images.image_reading import ImageReading, check_range
from study.data.images.sources import FolderSource, read_any_image
from study.errors import DataError
from tests.pictures import (
    GREY,
    ORIENTATIONS,
    RGB,
    SIXTEEN,
    Picture,
    known_pictures,
    saved,
    tiff,
    turned,
)

PICTURES = known_pictures()
Read = Callable[[Path], Image.Image]
WAYS: dict[str, Read] = {
    "training": lambda file: FolderSource(file.parent).open_image(file.name),
    "path": read_any_image,
    "text": lambda file: read_any_image(str(file)),
    "bytes": lambda file: read_any_image(file.read_bytes()),
    "base64": lambda file: read_any_image(base64.b64encode(file.read_bytes()).decode()),
    "pillow": lambda file: read_any_image(Image.open(file)),
}


TURNED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
)
"""The formats that carry an orientation and lose nothing, with their options."""


def pixels(image: Image.Image) -> NDArray[np.int64]:
    """Give pixels that differences can be taken of."""
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


@pytest.mark.parametrize("read", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_known_picture_is_read_as_it_is(picture: Picture, read: Read, tmp_path: Path):
    (tmp_path / picture.name).write_bytes(picture.contents)
    found = pixels(read(tmp_path / picture.name))
    assert found.shape == picture.rgb.shape
    assert np.abs(found - picture.rgb).max() <= picture.within


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF"])
def test_ordinary_images_keep_every_byte_of_pillows_conversion(form: str):
    noise = np.random.default_rng(3).integers(0, 256, (40, 30, 3), np.uint8)
    for mode in ("L", "RGB"):
        contents = saved(Image.fromarray(noise).convert(mode), form)
        plain = Image.open(io.BytesIO(contents)).convert("RGB")
        assert read_any_image(contents).tobytes() == plain.tobytes()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_picture_that_lies_on_its_side_is_turned_once_as_its_tag_says(
    orientation: int, tmp_path: Path
):
    for form, options in TURNED:
        (tmp_path / "a.png").write_bytes(turned(RGB, orientation, form, **options))
        for read in WAYS.values():
            upright = read(tmp_path / "a.png")
            assert np.array_equal(pixels(upright), RGB)
            assert np.array_equal(pixels(read_any_image(upright)), RGB)
    large = RGB.repeat(16, axis=0).repeat(16, axis=1)
    photograph = read_any_image(turned(large, orientation, "JPEG", quality=100, subsampling=0))
    assert np.abs(pixels(photograph) - large).max() <= 4
    for form in ("PNG", "TIFF"):
        deep = read_any_image(turned(SIXTEEN, orientation, form))
        assert np.array_equal(pixels(deep)[..., 0], GREY)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_metadata_at_fault_do_not_make_a_photograph_unreadable(exif: bytes):
    for form in ("JPEG", "PNG", "WEBP"):
        assert read_any_image(saved(Image.fromarray(RGB), form, exif=exif)).size == (4, 2)


SHORT = np.array([[-1000, 0, 1000, 3000], [3000, 24, 24, -24]], "<i2")
UNCLEAR = {
    "float.tif": saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
    "negative float.tif": saved(Image.fromarray(GREY / np.float32(255) - 1), "TIFF"),
    "32 bits.tif": saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
    "unsigned 32 bits.tif": tiff((GREY.astype("<u4") << 24).tobytes(), 32),
    "signed 16 bits.tif": tiff(SHORT.tobytes(), 16, form=2),
    "infinite.tif": saved(Image.fromarray(np.full((2, 4), np.inf, np.float32)), "TIFF"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_pixels_of_no_known_range_are_refused(name: str):
    with pytest.raises(DataError, match=r"data\.pixel_range=\[LOW, HIGH\]"):
        read_any_image(UNCLEAR[name])


@pytest.mark.parametrize(
    "image, message",
    [
        (Image.fromarray(np.array([[0, np.nan]], np.float32)), "not a number"),
        (Image.new("La", (2, 2)), "Pillow image of mode La"),
        (tiff(bytes(8), 8, form=2), "signed 8-bit pixels"),
    ],
)
def test_pixels_that_are_no_colours_are_refused(image: Any, message: str):
    with pytest.raises(DataError, match=message):
        read_any_image(image, reading=ImageReading((0.0, 1.0)))


@pytest.mark.parametrize(
    "contents, bounds, expected",
    [
        (UNCLEAR["float.tif"], (0, 255), GREY),
        (UNCLEAR["unsigned 32 bits.tif"], (0, 255 << 24), GREY),
        (UNCLEAR["negative float.tif"], (-1, 0), GREY),
        (UNCLEAR["infinite.tif"], (0, 1), np.full((2, 4), 255)),
        (saved(Image.fromarray(GREY.astype(np.uint16) * 16), "PNG"), (0, 4080), GREY),
        (UNCLEAR["signed 16 bits.tif"], (-1000, 1000), [[0, 128, 255, 255], [255, 131, 131, 124]]),
        (saved(Image.fromarray(RGB), "PNG"), (0, 4095), RGB),
    ],
)
def test_a_range_maps_deep_pixels_linearly_and_leaves_eight_bits_alone(
    contents: bytes, bounds: tuple[float, float], expected: Any
):
    image = read_any_image(contents, reading=ImageReading(bounds))
    assert (pixels(image) == np.reshape(expected, (2, 4, -1))).all()


@pytest.mark.parametrize(
    "head", [b"P5 2 1 4095\n", b"P2 2 1 4095\n", b"P5 2 1 65535\n", b"P2 2 1 65535\n"]
)
def test_a_range_means_the_values_in_the_file_whatever_maximum_it_names(head: bytes):
    values = np.array([0, 2048], dtype=">u2")
    body = values.tobytes() if head.startswith(b"P5") else b"0 2048\n"
    read = read_any_image(head + body, reading=ImageReading((0, 4095)))
    assert pixels(read)[0, :, 0].tolist() == [0, 128]


@pytest.mark.parametrize("values", [[1], [1, 2, 3], [1, 1], [0, 1e999], [-1e308, 1e308]])
def test_a_range_is_two_finite_numbers_the_lower_one_first(values: list[float]):
    assert check_range([0, 4095]) == (0, 4095)
    with pytest.raises(DataError, match="pixel_range is "):
        check_range(values)
