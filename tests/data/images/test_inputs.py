"""Images in the forms that callers have them in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.data.images.inputs import as_base64, as_image
from study.errors import DataError


@pytest.fixture
def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((9, 7)).convert("RGB")


def same(one: Image.Image, other: Image.Image) -> bool:
    return bool((np.asarray(one) == np.asarray(other)).all())


def test_base64_keeps_every_pixel(picture: Image.Image) -> None:
    assert same(as_image(as_base64(picture)), picture)
    assert same(as_image(f"data:image/png;base64,{as_base64(picture)}"), picture)


def test_a_path_that_could_be_base64_is_a_path(
    picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture.save(tmp_path / "abcd", "PNG")  # four characters of base64
    assert same(as_image("abcd"), picture)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((7, 9), 200), ((7, 9, 1), 200), ((7, 9, 3), 200), ((7, 9, 4), 212)],  # 212: over white
)
def test_arrays_of_grey_colour_and_transparency_are_images(
    shape: tuple[int, ...], expected: int
) -> None:
    image = as_image(np.full(shape, 200))
    assert (image.mode, image.size) == ("RGB", (9, 7))
    assert set(np.asarray(image).ravel()) == {expected}


@pytest.mark.parametrize("named", ["digit.png", "/etc/passwd", "abcd"])
def test_text_names_no_file_where_files_are_out_of_bounds(
    named: str, picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digit.png", "abcd"):
        picture.save(tmp_path / name, "PNG")
    with pytest.raises(DataError, match="paths are not opened here"):
        as_image(named, files=False)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2, 2)),
        np.zeros((0, 4), dtype=np.uint8),
        np.full((2, 2), -1),
        np.zeros((2, 2), dtype=bool),
        [[[1, 2]], [[3]]],
        "data:image/png;base64,%%%",
        "data:image/png;base64,AAAA",
        None,
    ],
)
def test_what_is_no_image_is_refused(value: Any) -> None:
    with pytest.raises(DataError):
        as_image(value)


def test_damaged_base64_is_not_repeated_whole() -> None:
    with pytest.raises(DataError) as raised:
        as_image("A" * 5000 + "!")
    assert len(str(raised.value)) < 600
