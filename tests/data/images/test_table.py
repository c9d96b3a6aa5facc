import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.data.images.decode import decode_images, preprocess
from study.data.images.table import ImageTable, normalize
from study.errors import DataError

PATHS = [f"{i:03d}.jpg" for i in range(150)]


@pytest.fixture
def square(colors: Any, tmp_path: Path) -> ImageTable:
    """150 images of 4 × 4 pixels, in three parts."""
    return ImageTable(decode_images(colors, PATHS, size=4, cache=tmp_path, key="k"))


@pytest.fixture
def whole(colors: Any, tmp_path: Path) -> ImageTable:
    """150 images of three sizes."""
    file = decode_images(colors, PATHS, size=4, cache=tmp_path, key="k", keep_aspect=True)
    return ImageTable(file)


@pytest.mark.parametrize(
    "rows", [[0], [3, 4, 5], [149, 0, 64], [5, 5], list(range(150)), list(range(60, 70))]
)
def test_pixels_are_those_of_the_images_asked_for(
    rows: list[int], square: ImageTable, colors: Any
) -> None:
    paths = [PATHS[row] for row in rows]
    pixels = square.pixels(paths)
    assert pixels.dtype == torch.uint8
    assert square.rows(paths) == rows
    expected = [preprocess(colors.open(p), size=4, keep_aspect=False) for p in paths]
    assert np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), np.stack(expected))


def test_neighbours_are_a_view_of_the_file(square: ImageTable) -> None:
    assert square.pixels(PATHS[3:9]).data_ptr() == square.images(PATHS[3:4])[0].data_ptr()


def test_whole_images_keep_their_sizes(whole: ImageTable, colors: Any) -> None:
    images = whole.images(PATHS[:5])
    for path, image in zip(PATHS[:5], images, strict=True):
        expected = preprocess(colors.open(path), size=4, keep_aspect=True)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
    with pytest.raises(DataError, match="5 images of 3 sizes cannot be one batch"):
        whole.pixels(PATHS[:5])


def test_a_table_travels_as_a_path(square: ImageTable) -> None:
    sent = pickle.dumps(square)
    assert len(sent) < 500
    assert torch.equal(pickle.loads(sent).pixels(PATHS), square.pixels(PATHS))


def test_a_missing_image_is_named(square: ImageTable) -> None:
    with pytest.raises(DataError, match=r"no pixels of 'x\.jpg', 'y\.jpg'"):
        square.pixels(["x.jpg", PATHS[0], "y.jpg"])


@pytest.mark.parametrize("content", [b"", b"no Arrow", None])
def test_a_file_that_is_no_table_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.arrow").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.arrow: not a whole file"):
        ImageTable(tmp_path / "x.arrow")


def test_mapping_a_file_warns_of_nothing(square: ImageTable) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageTable(square.path).pixels(PATHS)


def test_normalizing_is_by_channel_of_values_in_0_to_1() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    result = normalize(pixels, (0.5, 0.1, 0.2), (0.5, 0.2, 0.4))
    assert result.dtype == torch.float32
    assert torch.allclose(result.flatten(), torch.tensor([-1.0, 0.5, 2.0]))
