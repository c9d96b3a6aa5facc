import math
import warnings
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
    Crops,
    ImageTable,
    crop_resize,
    draw_crops,
    normalize,
    random_resized_crop_flip,
)
from study.errors import DataError

PATHS = [f"{i:03d}.jpg" for i in range(150)]


@pytest.fixture
def square(colors: Any, tmp_path: Path) -> ImageTable:
    """150 images of 4 × 4 pixels, in three parts."""
    return ImageTable(decode_images(colors, PATHS, ImageCache(tmp_path, "k", size=4)))


@pytest.fixture
def whole(colors: Any, tmp_path: Path) -> ImageTable:
    """150 images of three sizes."""
    file = decode_images(colors, PATHS, ImageCache(tmp_path, "k", size=4, keep_aspect=True))
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
    expected = [preprocess(colors.open_image(p), size=4, keep_aspect=False) for p in paths]
    assert np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), np.stack(expected))


def test_neighbours_are_a_view_of_the_file(square: ImageTable) -> None:
    assert square.pixels(PATHS[3:9]).data_ptr() == square.images(PATHS[3:4])[0].data_ptr()


def test_whole_images_keep_their_sizes(whole: ImageTable, colors: Any) -> None:
    images = whole.images(PATHS[:5])
    for path, image in zip(PATHS[:5], images, strict=True):
        expected = preprocess(colors.open_image(path), size=4, keep_aspect=True)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
    with pytest.raises(DataError, match="5 images of 3 sizes cannot be one batch"):
        whole.pixels(PATHS[:5])


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


def generator(seed: int = 0) -> torch.Generator:
    """Make a generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw pixels."""
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


def crops_of(heights: list[int], widths: list[int], seed: int) -> Crops:
    """Draw crops for images of these sizes."""
    return draw_crops(torch.tensor(heights), torch.tensor(widths), generator(seed))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8),
    st.integers(0, 99),
)
def test_every_crop_lies_inside_its_image(sizes: list[tuple[int, int]], seed: int) -> None:
    heights, widths = ([size[axis] for size in sizes] for axis in (0, 1))
    crops = crops_of(heights, widths, seed)
    assert (crops.height >= 1).all()
    assert (crops.width >= 1).all()
    assert (crops.top >= 0).all()
    assert (crops.left >= 0).all()
    assert (crops.top + crops.height <= torch.tensor(heights)).all()
    assert (crops.left + crops.width <= torch.tensor(widths)).all()


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (200, 40)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    count = 1500
    image = torch.zeros(3, *size)
    torch.manual_seed(7)
    transform = v2.RandomResizedCrop(16, scale=SCALE, ratio=RATIO)
    theirs = [transform.make_params([image]) for _ in range(count)]
    ours = crops_of([size[0]] * count, [size[1]] * count, seed=3)
    for name in ("top", "left", "height", "width"):
        mine = getattr(ours, name).double().numpy()
        other = [float(params[name]) for params in theirs]
        assert stats.ks_2samp(mine, other).pvalue > 1e-3, name
    # The joint distribution too: ratios depend on both sides.
    ratio = (ours.width.double() / ours.height.double()).numpy()
    assert stats.ks_2samp(ratio, [p["width"] / p["height"] for p in theirs]).pvalue > 1e-3


def test_every_place_is_as_likely_as_any_other() -> None:
    twos = torch.full((4000,), 2)
    crops = draw_crops(twos, twos, generator(), scale=(0.25, 0.25), ratio=(1.0, 1.0))
    assert (crops.height == 1).all()
    places = torch.bincount(2 * crops.top + crops.left, minlength=4)
    # 1,000 expected, a standard deviation of 27.
    assert (places - 1000).abs().max() < 110


@pytest.mark.parametrize(
    ("size", "expected"), [((10, 200), (10, 13)), ((200, 10), (13, 10)), ((1, 300), (1, 1))]
)
def test_an_image_too_narrow_for_any_crop_gives_its_middle(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    crops = draw_crops(
        torch.tensor([size[0]]), torch.tensor([size[1]]), generator(), scale=(1.0, 1.0)
    )
    assert (int(crops.height), int(crops.width)) == expected
    assert int(crops.top) == (size[0] - expected[0]) // 2
    assert int(crops.left) == (size[1] - expected[1]) // 2


def test_half_of_the_images_are_mirrored() -> None:
    crops = crops_of([9] * 4000, [9] * 4000, seed=1)
    assert abs(crops.flip.double().mean().item() - 0.5) < 4 * math.sqrt(0.25 / 4000)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 36), st.booleans())
def test_pixels_are_torchvisions_for_the_same_crop(
    data: st.DataObject, height: int, width: int, size: int, flip: bool
) -> None:
    tall, wide = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    top, left = data.draw(st.integers(0, height - tall)), data.draw(st.integers(0, width - wide))
    # As a table lays them out: rows of pixels, the colours of a pixel together.
    image = noise(height, width, 3, seed=size).permute(2, 0, 1)
    place = [torch.tensor([number]) for number in (top, left, tall, wide)]
    crops = Crops(place[0], place[1], place[2], place[3], torch.tensor([flip]))
    theirs = functional.resized_crop(
        image,
        top,
        left,
        tall,
        wide,
        [size, size],
        interpolation=v2.InterpolationMode.BICUBIC,
        antialias=True,
    )
    theirs = functional.horizontal_flip(theirs) if flip else theirs
    assert torch.equal(crop_resize([image], crops, size)[0], theirs)


def test_a_list_and_a_batch_of_the_same_images_give_the_same() -> None:
    pixels = noise(6, 3, 20, 31)
    batch = random_resized_crop_flip(pixels, 16, generator(5))
    listed = random_resized_crop_flip(list(pixels), 16, generator(5))
    assert batch.shape == (6, 3, 16, 16)
    assert batch.dtype == torch.uint8
    assert torch.equal(batch, listed)


def test_images_of_any_sizes_make_one_batch() -> None:
    images = [noise(3, height, width) for height, width in ((20, 31), (8, 50), (33, 9))]
    assert random_resized_crop_flip(images, 16, generator()).shape == (3, 3, 16, 16)


def test_only_the_generator_decides() -> None:
    pixels = noise(4, 3, 20, 20)
    torch.manual_seed(1)
    one = random_resized_crop_flip(pixels, 8, generator(2))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(one, random_resized_crop_flip(pixels, 8, generator(2)))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(one, random_resized_crop_flip(pixels, 8, generator(3)))
