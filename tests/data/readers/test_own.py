import os
from pathlib import Path
from types import ModuleType

import pytest

from study.data.datasets import load_dataset
from study.errors import DataError


@pytest.fixture
def flat(miniature: ModuleType, tmp_path: Path) -> Path:
    """Ten images in two class folders."""
    for number in range(10):
        name = ("red fox", "grey_wolf")[number % 2]
        miniature.save(tmp_path / "mine" / name / f"{number}.jpg", number % 2, number)
    return tmp_path / "mine"


def test_a_flat_folder_of_ten_images_is_a_dataset(flat: Path) -> None:
    dataset = load_dataset("mine", flat)
    assert dataset.class_names == ("grey_wolf", "red fox")
    assert dataset.templates == ("a photo of a {}.",)
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [4, 2, 4]
    assert load_dataset("mine", flat).test == dataset.test
    assert dataset.source.open_image(dataset.train[0].path).size == (30, 24)


def test_a_split_folder_is_read_as_it_lies(miniature: ModuleType, tmp_path: Path) -> None:
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        for label, name in enumerate(("a", "b")):
            for number in range(count):
                miniature.save(tmp_path / split / name / f"{number}.png", label, number)
    dataset = load_dataset("mine", tmp_path)
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [6, 4, 2]
    assert dataset.val[0].path == "validation/a/0.png"


def test_files_that_are_no_images_and_hidden_ones_are_left_alone(flat: Path) -> None:
    (flat / "red fox" / "notes.txt").write_text("x")
    (flat / "red fox" / "._1.jpg").write_text("x")
    (flat / ".cache").mkdir()
    (flat / "__MACOSX").mkdir()
    dataset = load_dataset("mine", flat)
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 10


def test_the_further_suffixes_of_jpeg_are_read(flat: Path) -> None:
    for number, suffix in enumerate((".jfif", ".JPE")):
        file = flat / "grey_wolf" / f"{2 * number + 1}.jpg"
        file.rename(file.with_suffix(suffix))
    dataset = load_dataset("mine", flat)
    records = (*dataset.train, *dataset.val, *dataset.test)
    assert len(records) == 10
    assert all(dataset.source.open_image(record.path) for record in records)


@pytest.mark.parametrize("name", ['o\'neil "the" cat', "🦊 fox", "x" * 250, "Straße {}"])
def test_any_folder_name_is_a_class_name(name: str, flat: Path) -> None:
    (flat / "red fox").rename(flat / name)
    dataset = load_dataset("mine", flat)
    assert name in dataset.class_names
    assert dataset.source.open_image(dataset.train[-1].path)


def test_an_empty_class_is_named(flat: Path) -> None:
    (flat / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images .* in 'empty'"):
        load_dataset("mine", flat)


def test_a_folder_without_classes_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"root/class/\*\.jpg"):
        load_dataset("mine", tmp_path)


def test_a_test_class_without_training_images_is_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    for place in ("train/a", "train/b", "test/a", "test/c"):
        miniature.save(tmp_path / place / "1.jpg", 0, 1)
    with pytest.raises(DataError, match="classes without training images: 'c'"):
        load_dataset("mine", tmp_path)


@pytest.mark.parametrize("splits", [("Train", "Test"), ("train", "val"), ("TRAIN", "Valid")])
def test_splits_are_known_however_capitalized_and_validation_serves_as_test(
    splits: tuple[str, str], miniature: ModuleType, tmp_path: Path
) -> None:
    for place in (f"{split}/{name}" for split in splits for name in "ab"):
        miniature.save(tmp_path / place / "1.jpg", 0, 1)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.class_names == ("a", "b")
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [2, 0, 2]
    assert dataset.test[0].path.startswith(splits[1])


def test_folders_that_would_be_one_class_are_named(flat: Path) -> None:
    (flat / "grey wolf").mkdir()
    (flat / "red_fox").mkdir()
    with pytest.raises(DataError) as caught:
        load_dataset("mine", flat)
    wolves, foxes = str(caught.value).splitlines()
    assert wolves.startswith(f"{flat}: the folders 'grey wolf' and 'grey_wolf' would be one class")
    assert "'red fox' and 'red_fox'" in foxes


@pytest.mark.parametrize("place", [b"red fox/\xff.jpg", b"\xff/1.jpg"])
def test_a_name_that_is_no_text_is_refused(place: bytes, flat: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(flat) + b"/" + place))
    strange.parent.mkdir(exist_ok=True)
    strange.write_bytes(b"x")
    with pytest.raises(DataError, match="not UTF-8") as caught:
        load_dataset("mine", flat)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("split", "lacking"), [("train", "'test' or 'val'"), ("Test", "'train'"), ("val", "'train'")]
)
def test_one_split_without_the_other_is_named(
    miniature: ModuleType, tmp_path: Path, split: str, lacking: str
) -> None:
    for name in ("cat", "dog"):
        for number in range(4):
            miniature.save(tmp_path / split / name / f"{number}.jpg", number % 2, number)
    with pytest.raises(DataError, match=f"has '{split}' without") as caught:
        load_dataset("mine", tmp_path)
    assert lacking in str(caught.value)
    assert f"{tmp_path / split} itself" in str(caught.value)
    assert load_dataset("mine", tmp_path / split).class_names == ("cat", "dog")


def test_a_class_may_have_the_name_of_a_split(miniature: ModuleType, tmp_path: Path) -> None:
    for name in ("train", "bus"):
        for number in range(4):
            miniature.save(tmp_path / name / f"{number}.jpg", number % 2, number)
    assert load_dataset("mine", tmp_path).class_names == ("bus", "train")
