import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from study.data.images.decode import ImageCache, decode_images, preprocess
from study.data.images.table import (
    RATIO,
    SCALE,
    ImageTable,
    crop_resize,
    draw_crops,
    normalize,
    random_resized_crop_flip,
)
from study.errors import DataError
from tests.data.images.test_decode import PATHS


@pytest.fixture
def square(colors: Any, tmp_path: Path) -> ImageTable:
    """150 images of 4 × 4 pixels, in three parts."""
    return ImageTable(decode_images(colors, PATHS, ImageCache(tmp_path, "k", size=4)))


@pytest.mark.parametrize("rows", [[149, 0, 64, 64], list(range(60, 70))])
def test_pixels_are_those_of_the_images_requested(rows: list[int], square: ImageTable, colors: Any):
    paths = [PATHS[row] for row in rows]
    pixels = square.pixels(paths)
    assert square.rows(paths) == rows
    expected = [preprocess(colors.open_image(p), size=4, keep_aspect=False) for p in paths]
    assert np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    with pytest.raises(DataError, match=r"no pixels of 'x\.jpg', 'y\.jpg'"):
        square.pixels(["x.jpg", PATHS[0], "y.jpg"])


def test_whole_images_keep_their_sizes(colors: Any, tmp_path: Path):
    paths = PATHS[:5]
    cache = ImageCache(tmp_path, "k", size=4, keep_aspect=True)
    whole = ImageTable(decode_images(colors, paths, cache))
    for path, image in zip(paths, whole.images(paths), strict=True):
        expected = preprocess(colors.open_image(path), size=4, keep_aspect=True)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
    with pytest.raises(DataError, match="5 images of 3 sizes cannot be one batch"):
        whole.pixels(paths)


@pytest.mark.parametrize("content", [b"", b"no Arrow", None])
def test_a_file_that_is_no_table_is_named(content: bytes | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "x.arrow").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.arrow: not a whole file"):
        ImageTable(tmp_path / "x.arrow")


def test_normalizing_is_by_channel_of_values_in_0_to_1():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    result = normalize(pixels, (0.5, 0.1, 0.2), (0.5, 0.2, 0.4))
    assert result.dtype == torch.float32
    assert torch.allclose(result.flatten(), torch.tensor([-1.0, 0.5, 2.0]))


def generator(seed: int = 0) -> torch.Generator:
    """Make a generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw pixels."""
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (200, 40)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]):
    count = 1500
    heights, widths = torch.tensor([size] * count).T
    ours = dict(vars(draw_crops(heights, widths, generator(3))))
    torch.manual_seed(7)
    transform = v2.RandomResizedCrop(16, scale=SCALE, ratio=RATIO)
    drawn = [transform.make_params([torch.zeros(3, *size)]) for _ in range(count)]
    theirs = {name: torch.tensor([crop[name] for crop in drawn]) for name in drawn[0]}
    for crops in (ours, theirs):
        # The joint distribution too: ratios depend on both sides.
        crops["ratio"] = crops["width"] / crops["height"]
    for name in ("top", "left", "height", "width", "ratio"):
        assert stats.ks_2samp(ours[name].numpy(), theirs[name].numpy()).pvalue > 1e-3, name


@pytest.mark.parametrize(
    "size, middle", [((10, 200), (0, 93, 10, 13)), ((200, 10), (93, 0, 13, 10))]
)
def test_an_image_too_narrow_for_any_crop_gives_its_middle(
    size: tuple[int, int], middle: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("study.data.images.table.SCALE", (1.0, 1.0))
    heights, widths = torch.tensor([size]).T
    crops = draw_crops(heights, widths, generator())
    assert (crops.top, crops.left, crops.height, crops.width) == middle


def test_half_of_the_images_are_mirrored():
    nines = torch.full((4000,), 9)
    mirrored = draw_crops(nines, nines, generator(1)).flip.sum()
    assert abs(mirrored - 2000) < 4 * math.sqrt(1000)


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 36), st.integers(0, 99))
def test_pixels_are_torchvisions_for_the_same_crop(height: int, width: int, size: int, seed: int):
    # As a table lays them out: rows of pixels, the colours of a pixel together.
    image = noise(height, width, 3, seed=seed).permute(2, 0, 1)
    crops = draw_crops(torch.tensor([height]), torch.tensor([width]), generator(seed))
    # A crop that did not lie inside its image would have black margins here.
    place = (int(side) for side in (crops.top, crops.left, crops.height, crops.width))
    crop = functional.crop(image, *place)
    bicubic = v2.InterpolationMode.BICUBIC
    theirs = functional.resize(crop, [size, size], interpolation=bicubic, antialias=True)
    if crops.flip:
        theirs = functional.horizontal_flip(theirs)
    assert torch.equal(crop_resize([image], crops, size)[0], theirs)


def test_only_the_generator_decides_and_a_list_is_read_as_a_batch_is():
    pixels = noise(4, 3, 20, 20)
    before = torch.get_rng_state()
    one, same, other = (random_resized_crop_flip(pixels, 8, generator(n)) for n in (2, 2, 3))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())
    listed = random_resized_crop_flip([*pixels, noise(3, 33, 9)], 8, generator(2))
    assert (listed.shape, listed.dtype) == ((5, 3, 8, 8), torch.uint8)
    assert torch.equal(random_resized_crop_flip(pixels, 8, generator(2)), listed[:4])
