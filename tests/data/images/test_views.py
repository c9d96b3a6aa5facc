"""Fixed views: which they are, and that nothing else decides about them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from study.data.images.decode import decode_images
from study.data.images.sources import ArraySource
from study.data.images.table import ImageTable, random_resized_crop_flip
from study.data.images.views import Views, view_path

SIZE = 16
NAMES = ["a/1.png", "a/2.png", "b#1.png", "b#1.png#0"]
"""Of images; a number sign is a character like others."""


def write(folder: Path, names: list[str]) -> ImageTable:
    """Whole images of different shapes, the same for the same name."""
    drawn = np.random.default_rng(0)
    pixels = {
        name: drawn.integers(0, 256, (20 + 3 * at, 31 - at), dtype=np.uint8)
        for at, name in enumerate(NAMES)
    }
    source = ArraySource("noise", pixels)
    return ImageTable(
        decode_images(source, names, size=SIZE, cache=folder, key="noise", keep_aspect=True)
    )


def written(views: Views, folder: Path) -> ImageTable:
    return ImageTable(
        decode_images(views, views.paths, size=views.size, cache=folder, key="noise-views")
    )


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    return Views(write(tmp_path_factory.mktemp("whole"), NAMES), SIZE, 3, seed=1)


def test_each_image_has_its_views_in_its_order_and_no_two_are_equal(
    views: Views, tmp_path: Path
) -> None:
    table = written(views, tmp_path)
    assert table.paths == [view_path(name, k) for name in NAMES for k in range(3)]
    pixels = table.pixels(table.paths)
    assert pixels.shape == (12, 3, SIZE, SIZE)
    assert len({image.numpy().tobytes() for image in pixels}) == 12


def test_a_view_depends_on_its_seed_image_and_number_alone(views: Views, tmp_path: Path) -> None:
    all_views = written(views, tmp_path)
    few = [NAMES[2], NAMES[0]]
    fewer = Views(write(tmp_path, few), SIZE, 2, seed=1)
    paths = fewer.paths
    assert torch.equal(written(fewer, tmp_path).pixels(paths), all_views.pixels(paths))
    other = written(replace(views, seed=2), tmp_path)
    same = (other.pixels(views.paths) == all_views.pixels(views.paths)).flatten(1).all(dim=1)
    assert not same.any()


def test_crops_are_known(views: Views) -> None:
    """Whoever draws them otherwise changes what finished studies saw."""
    assert views.digest == "de958d4e8997108a21358aef0c6b76bea44eab5adfd29ba4698e35474f12f689"
    assert [*views._crops.values()][:3] == [
        (0, 2, 20, 16, True),
        (1, 0, 12, 13, False),
        (0, 8, 20, 21, False),
    ]


def test_views_are_what_augmentation_makes_of_the_same_numbers(
    views: Views, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = views.table.images(NAMES[:1])
    monkeypatch.setattr("study.data.images.views._seed", lambda seed, path: 7)
    fixed = written(replace(views, seed=3), tmp_path).pixels([view_path(NAMES[0], 0)])
    expected = random_resized_crop_flip(image, SIZE, torch.Generator().manual_seed(7))
    assert torch.equal(fixed, expected)


def test_other_views_have_another_digest(views: Views, tmp_path: Path) -> None:
    others = (
        replace(views, seed=2),
        replace(views, number=4),
        replace(views, size=8),
        replace(views, table=write(tmp_path, NAMES[:3])),
    )
    assert len({own.digest for own in (views, *others)}) == 5
    again = replace(views, table=write(tmp_path, NAMES))
    assert again.digest == views.digest


def test_views_of_other_pixels_are_not_found_in_the_cache(views: Views, tmp_path: Path) -> None:
    first = written(views, tmp_path)
    assert written(views, tmp_path).path == first.path
    changed = write(tmp_path, NAMES)
    changed.content_hash = "0" * 64
    assert written(replace(views, table=changed), tmp_path).path != first.path
