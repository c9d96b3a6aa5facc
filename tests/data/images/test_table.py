from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from study.data.images.decode import ImageCache, decode_images, preprocess
from study.data.images.table import ImageTable, normalize, random_resized_crop_flip
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


def test_images_are_augmented_by_the_transforms_of_the_reference():
    # As a table lays them out: rows of pixels, the colours of a pixel together.
    images = [noise(20 + n, 30, 3, seed=n).permute(2, 0, 1) for n in range(9)]
    augmented = random_resized_crop_flip(images, 8, generator(5))
    torch.manual_seed(5)
    bicubic = v2.InterpolationMode.BICUBIC
    crop = v2.RandomResizedCrop(8, scale=(0.08, 1), ratio=(3 / 4, 4 / 3), interpolation=bicubic)
    theirs = [v2.RandomHorizontalFlip(0.5)(crop(image)) for image in images]
    assert torch.equal(augmented, torch.stack(theirs))


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
