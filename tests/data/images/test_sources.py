"""Images of folders and arrays, and in the forms that callers have them in."""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.data.images.sources import (
    FolderSource,
    encode_base64,
    read_any_image,
)
from study.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset's folder with one image."""
    (tmp_path / "set" / "a").mkdir(parents=True)
    Image.new("RGB", (4, 3), "red").save(tmp_path / "set" / "a" / "1.png")
    return tmp_path / "set"


@pytest.mark.parametrize("kept, why", [(0, "it is empty"), (1, "it is empty, or"), (50, "")])
def test_a_corrupt_image_is_named_with_the_reason(kept: int, why: str, root: Path):
    content = (root / "a" / "1.png").read_bytes()[:kept]
    (root / "a" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"a/1\.png: not a readable image \({why}"):
        FolderSource(root).open_image("a/1.png")
    with pytest.raises(DataError, match=rf"bytes: not a readable image \({why}"):
        read_any_image(content)


def test_an_image_of_too_many_pixels_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match=r"1\.png: has more than 10 pixels"):
        FolderSource(root).open_image("a/1.png")


def test_a_jpeg_of_very_many_scans_is_refused_and_an_ordinary_one_is_read(root: Path):
    contents = io.BytesIO()
    Image.new("RGB", (3000, 3000), "red").save(contents, "JPEG", progressive=True)
    picture, end = contents.getvalue()[:-2], contents.getvalue()[-2:]
    assert picture.count(b"\xff\xda") > 5
    last_scan = picture[picture.rindex(b"\xff\xda") :]
    assert read_any_image(picture + end).size == (3000, 3000)
    (root / "a/1.png").write_bytes(picture + 1000 * last_scan + end)  # some 15 s to decode
    with pytest.raises(DataError, match=r"has \d{4} scans of 3000 × 3000 pixels"):
        FolderSource(root).open_image("a/1.png")


@pytest.mark.parametrize(
    "path, message",
    [
        ("a/9.png", "no such image"),
        # As a folder that one may not enter is, but for root as well.
        (f"a/{'9' * 300}/1.png", "not a readable image"),
        ("../secret.png", "not inside"),
        ("/etc/hostname", "not inside"),
        ("a/../../secret.png", "not inside"),
    ],
)
def test_an_image_that_is_not_there_or_outside_is_named(path: str, message: str, root: Path):
    with pytest.raises(DataError, match=f"{path}.*{message}"):
        FolderSource(root).open_image(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, partial(os.symlink, "/dev/zero")])
def test_what_is_no_file_is_named_and_not_waited_for(make: Callable[[Path], object], root: Path):
    make(root / "a" / "x.png")
    with pytest.raises(DataError, match=r"a/x\.png: not a file but a"):
        FolderSource(root).open_image("a/x.png")


def test_links_to_images_are_followed_and_broken_ones_named(root: Path):
    (root / "b").symlink_to("a")
    for name, target in {"circle.png": "circle.png", "nowhere.png": "9.png"}.items():
        (root / "a" / name).symlink_to(target)
        with pytest.raises(DataError, match=f"a/{name}"):
            FolderSource(root).open_image(f"a/{name}")
    assert FolderSource(root).open_image("b/1.png").size == (4, 3)


def test_text_is_base64_or_a_path_unless_files_are_out_of_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    picture = Image.linear_gradient("L").resize((9, 7)).convert("RGB")
    encoded = encode_base64(picture)
    for name in ("digit.png", "abcd"):  # four characters of base64
        picture.save(name, "PNG")
        assert read_any_image(name).tobytes() == picture.tobytes()
        with pytest.raises(DataError, match="paths are not opened here"):
            read_any_image(name, files=False)
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        assert read_any_image(text, files=False).tobytes() == picture.tobytes()


@pytest.mark.parametrize(
    "shape, expected",
    [((7, 9), 200), ((7, 9, 1), 200), ((7, 9, 3), 200), ((7, 9, 4), 212)],  # 4: over white
)
def test_arrays_of_grey_colour_and_transparency_are_images(shape: tuple[int, ...], expected: int):
    image = read_any_image(np.full(shape, 200))
    assert (image.mode, image.size) == ("RGB", (9, 7))
    assert set(np.asarray(image).ravel()) == {expected}


NO_IMAGES: tuple[Any, ...] = (
    *(np.zeros((2, 2, 2)), np.zeros((0, 4), np.uint8), np.zeros((2, 2), bool)),
    *(np.full((2, 2), -1), np.full((2, 2), 256), [[0.5]], [[None, "x"]], [[[1, 2]], [[3]]]),
    np.zeros((2, 2), np.uint16),  # which might be a dark image of 8 bits
    *("data:image/png;base64,%%%", "data:image/png;base64,AAAA", "A" * 5000 + "!", None, {"a": 1}),
)


@pytest.mark.parametrize("value", NO_IMAGES, ids=lambda value: str(value)[:20])
def test_what_is_no_image_is_refused_and_not_repeated_whole(value: Any):
    with pytest.raises(DataError) as refused:
        read_any_image(value)
    assert len(str(refused.value)) < 600
