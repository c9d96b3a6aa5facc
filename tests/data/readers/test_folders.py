import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from tests import miniature
from tests.data.reading import add, refusal, sizes

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Return a function that draws numbered images into each folder, and returns the root."""

    def draw(*folders: str, numbers: Iterable[int] = (1,)) -> Path:
        for label, folder in enumerate(folders):
            for number in numbers:
                miniature.save(tmp_path / folder / f"{number}.jpg", label, number)
        return tmp_path

    return draw


@pytest.fixture
def flat(draw: Draw) -> Path:
    """Ten images in two class folders."""
    return draw("red fox", "grey_wolf", numbers=range(5))


def test_a_flat_folder_of_ten_images_is_a_dataset(flat: Path):
    add(flat, "red fox/notes.txt", "red fox/._1.jpg", ".cache/1.jpg", "__MACOSX/1.jpg")
    for suffix, file in zip((".jfif", ".JPE"), flat.glob("[rg]*/1.jpg"), strict=True):
        file.rename(file.with_suffix(suffix))
    dataset = load_dataset("mine", flat)
    assert dataset.class_names == ("grey_wolf", "red fox")
    assert sizes(dataset) == [4, 2, 4]
    assert dataset.source.open_image(dataset.train[0].path).size == (30, 24)


def test_a_split_folder_is_read_as_it_lies(draw: Draw):
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        root = draw(f"{split}/a", f"{split}/b", numbers=range(count))
    dataset = load_dataset("mine", root)
    assert sizes(dataset) == [6, 4, 2]
    assert dataset.val[0].path == "validation/a/0.jpg"
    draw("test/c")
    assert "test: classes without training images: 'c'" in refusal("mine", root)


@pytest.mark.parametrize("train, test", [("Train", "Test"), ("train", "val")])
def test_splits_are_known_however_capitalized_and_validation_serves_as_test(
    train: str, test: str, draw: Draw
):
    root = draw(f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b")
    dataset = load_dataset("mine", root)
    assert sizes(dataset) == [2, 0, 2]
    assert dataset.test[0].path.startswith(test)


def test_folders_that_would_be_one_class_are_named(flat: Path):
    (flat / "grey wolf").mkdir()
    (flat / "red_fox").mkdir()
    assert "'grey wolf' and 'grey_wolf' of labels" in refusal("mine", flat)


@pytest.mark.parametrize("place", [b"red fox/\xff.jpg", b"\xff/1.jpg"])
def test_a_name_that_is_no_text_is_refused(place: bytes, flat: Path):
    strange = flat / os.fsdecode(place)
    strange.parent.mkdir(exist_ok=True)
    strange.touch()
    message = refusal("mine", flat)
    assert "not UTF-8" in message
    message.encode()


def test_one_split_without_the_other_and_a_folder_without_classes_are_refused(draw: Draw):
    root = draw("train/cat", "train/dog", numbers=range(2))
    assert refusal("mine", root).endswith(".tiff .webp) in 'train'")
    assert "root/class/*.jpg" in refusal("mine", root / "train/cat")
    assert load_dataset("mine", root / "train").class_names == ("cat", "dog")


def test_a_class_may_have_the_name_of_a_split(draw: Draw):
    root = draw("bus", "train", numbers=range(2))
    (root / "train" / "old").mkdir()
    assert load_dataset("mine", root).class_names == ("bus", "train")


@pytest.mark.parametrize("by_pattern", [True, False])
def test_images_are_split_by_the_groups_of_their_paths(by_pattern: bool, draw: Draw):
    root = draw("cat", "dog", numbers=range(10, 50))
    dataset = load_dataset("mine", root, groups=r"/(\d)" if by_pattern else None)
    tens = [{record.path[4] for record in part} for part in (dataset.train, dataset.test)]
    assert tens[0].isdisjoint(tens[1]) is by_pattern
    assert sizes(dataset) == ([40, 20, 20] if by_pattern else [40, 16, 24])
