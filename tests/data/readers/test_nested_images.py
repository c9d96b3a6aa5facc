"""A folder one level too high or too deep is named with the one that can be read."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from study.data.datasets import load_dataset
from study.data.readers import nested_images
from study.errors import DataError

CLASSES = ("cat", "dog")
Write = Callable[..., Path]


@pytest.fixture
def write(miniature: ModuleType, tmp_path: Path) -> Write:
    """Return a function that draws two images of each class into a folder, and returns it."""

    def write(place: str, names: Iterable[str] = CLASSES) -> Path:
        for label, name in enumerate(names):
            for number in range(2):
                miniature.save(tmp_path / place / name / f"{number}.jpg", label, number)
        return tmp_path / place

    return write


def refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset("mine", root)
    return str(caught.value)


@pytest.mark.parametrize("below", ["images", "pets/pets", "a/b/c"])
def test_a_folder_too_high_is_named_with_the_one_below(
    below: str, write: Write, tmp_path: Path
) -> None:
    place = write(f"imgs/{below}")
    (tmp_path / "imgs" / "labels").mkdir()
    told = refused(tmp_path / "imgs")
    assert f"data.root={place} (classes 'cat', 'dog') would work" in told
    assert load_dataset("mine", place).class_names == CLASSES


def test_a_folder_of_splits_is_preferred_to_those_in_it(write: Write, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(f"imgs/pets/{split}")
    told = refused(tmp_path / "imgs")
    assert f"data.root={tmp_path}/imgs/pets (classes" in told
    assert "imgs/pets/train" not in told


def test_a_folder_too_deep_is_named_with_the_one_above(write: Write) -> None:
    root = write("images")
    assert f"; data.root={root} (classes 'cat', 'dog') would work" in refused(root / "cat")


def test_a_class_folder_of_a_split_is_named_with_the_folder_of_the_splits(
    write: Write, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        write(f"pets/{split}")
    told = refused(tmp_path / "pets" / "train" / "cat")
    assert f"; data.root={tmp_path}/pets (classes 'cat', 'dog') would work" in told


def test_a_relative_folder_is_named_as_it_was_given(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("imgs/images")
    monkeypatch.chdir(tmp_path)
    assert "data.root=imgs/images (" in refused(Path("imgs"))
    assert "data.root=imgs/images (" in refused(Path("imgs/images/dog"))
    monkeypatch.chdir(tmp_path / "imgs" / "images" / "dog")
    assert f"data.root={tmp_path}/imgs/images (" in refused(Path())


def test_several_folders_that_work_are_all_named(write: Write, tmp_path: Path) -> None:
    one, two = write("sets/one"), write("sets/two", ("ship", "car"))
    told = refused(tmp_path / "sets")
    assert f"data.root={one} (classes 'cat', 'dog') or data.root={two} (classes" in told


def test_images_by_date_in_one_class_are_to_be_moved_up(write: Write, tmp_path: Path) -> None:
    root = write("imgs")
    write("imgs/fox/2024", ["may"])
    told = refused(root)
    assert "the images in 'fox/2024/may' are too deep: move them up into 'fox'" in told
    assert "data.root" not in told


def test_where_all_classes_are_too_deep_no_folder_of_one_class_is_offered(
    write: Write, tmp_path: Path
) -> None:
    for name in CLASSES:
        write(f"imgs/{name}/2024", ["may"])
    told = refused(tmp_path / "imgs")
    assert "the images in 'cat/2024/may' are too deep" in told
    assert "the images in 'dog/2024/may' are too deep" in told
    assert "data.root" not in told


def test_hidden_class_folders_are_named_where_no_other_is_there(
    write: Write, tmp_path: Path
) -> None:
    root = write("imgs", (".cat", ".dog"))
    (root / ".git").mkdir()
    assert "hidden folders are not read, such as '.cat', '.dog'" in refused(root)


def test_links_that_lead_up_end_the_look(write: Write, tmp_path: Path) -> None:
    root = tmp_path / "imgs"
    (root / "a").mkdir(parents=True)
    (root / "a" / "up").symlink_to("..")
    assert refused(root).endswith("in 'a'")


def test_no_more_than_some_folders_are_looked_at(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("imgs/z/images")
    for number in range(5):
        (tmp_path / "imgs" / f"a{number}").mkdir()
    assert "would work" in refused(tmp_path / "imgs")
    monkeypatch.setattr(nested_images, "MAX_FOLDERS", 5)
    assert "would work" not in refused(tmp_path / "imgs")


def test_training_images_without_class_folders_are_named(write: Write, tmp_path: Path) -> None:
    root = write("pets/test").parent
    write("pets", ["train"])
    assert f"{root}/train: no class folders" in refused(root)
