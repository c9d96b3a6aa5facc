"""A folder one level too high or too deep is named with the one that can be read."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.data.readers import nested_images
from tests import miniature
from tests.data.reading import refusal

CLASSES = ("cat", "dog")
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that draws two images of each class into a folder, and returns it."""

    def write(place: str, names: Iterable[str] = CLASSES) -> Path:
        for label, name in enumerate(names):
            for number in range(2):
                miniature.save(tmp_path / place / name / f"{number}.jpg", label, number)
        return tmp_path / place

    return write


@pytest.mark.parametrize("below", ["images", "pets/pets", "a/b/c"])
def test_a_folder_too_high_is_named_with_the_one_below(
    below: str, write: Write, tmp_path: Path
) -> None:
    place = write(f"imgs/{below}")
    (tmp_path / "imgs" / "labels").mkdir()
    told = refusal("mine", tmp_path / "imgs")
    assert f"data.root={place} (classes 'cat', 'dog') would work" in told
    assert load_dataset("mine", place).class_names == CLASSES


def test_a_folder_of_splits_is_preferred_to_those_in_it_and_named_from_a_class_folder(
    write: Write, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        write(f"imgs/pets/{split}")
    told = refusal("mine", tmp_path / "imgs")
    assert f"; data.root={tmp_path}/imgs/pets (classes 'cat', 'dog') would work" in told
    assert "imgs/pets/train" not in told
    told = refusal("mine", tmp_path / "imgs/pets/train/cat")
    assert f"; data.root={tmp_path}/imgs/pets (classes 'cat', 'dog') would work" in told


def test_a_folder_too_deep_is_named_with_the_one_above(write: Write) -> None:
    root = write("images")
    assert f"; data.root={root} (classes 'cat', 'dog') would work" in refusal("mine", root / "cat")


def test_a_relative_folder_is_named_as_it_was_given(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write("imgs/images")
    monkeypatch.chdir(tmp_path)
    for given in (Path("imgs"), Path("imgs/images/dog")):
        assert "data.root=imgs/images (" in refusal("mine", given)
    monkeypatch.chdir(place / "dog")
    assert f"data.root={place} (" in refusal("mine", Path())


def test_several_folders_that_work_are_all_named(write: Write, tmp_path: Path) -> None:
    one, two = write("sets/one"), write("sets/two", ("ship", "car"))
    told = refusal("mine", tmp_path / "sets")
    assert f"data.root={one} (classes 'cat', 'dog') or data.root={two} (classes" in told


def test_images_by_date_are_to_be_moved_up_and_no_folder_of_one_class_is_offered(
    write: Write,
) -> None:
    root = write("imgs")
    write("imgs/fox/2024", ["may"])
    advice = "; the images in 'fox/2024/may' are too deep: move them up into 'fox', or move 'fox' "
    assert refusal("mine", root).endswith(f"in 'fox'{advice}out of {root}")
    for name in CLASSES:
        (root / name).rename(root.parent / name)
        write(f"imgs/{name}/2024", ["may"])
    told = refusal("mine", root)
    for name in (*CLASSES, "fox"):
        assert f"the images in '{name}/2024/may' are too deep" in told
    assert "data.root" not in told


def test_hidden_class_folders_are_named_where_no_other_is_there(write: Write) -> None:
    root = write("imgs", (".cat", ".dog"))
    (root / ".git").mkdir()
    assert refusal("mine", root).endswith("hidden folders are not read, such as '.cat', '.dog'")


def test_links_that_lead_up_end_the_look(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to("..")
    assert refusal("mine", tmp_path).endswith("in 'a'")


def test_no_more_than_some_folders_are_looked_at(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write("imgs/z/images").parents[1]
    for number in range(5):
        (root / f"a{number}").mkdir()
    assert "would work" in refusal("mine", root)
    monkeypatch.setattr(nested_images, "MAX_FOLDERS", 5)
    assert "would work" not in refusal("mine", root)


def test_training_images_without_class_folders_are_named(write: Write, tmp_path: Path) -> None:
    root = write("pets/test").parent
    write("pets", ["train"])
    assert f"{root}/train: no class folders" in refusal("mine", root)
