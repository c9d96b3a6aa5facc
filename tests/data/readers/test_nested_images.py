"""A folder one level too high or too deep is named with the one that can be read."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

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


ONE = "; data.root={root}/%s (classes 'cat', 'dog') would work"
SPLITS = ["imgs/pets/train", "imgs/pets/test"]
TWO = "; data.root={root}/imgs/one (classes 'cat', 'dog') or data.root={root}/imgs/two (classes"


@pytest.mark.parametrize(
    "places, named, told",
    [
        (["imgs/images"], "imgs", ONE % "imgs/images"),
        (["imgs/pets/pets"], "imgs", ONE % "imgs/pets/pets"),
        (["imgs/a/b/c"], "imgs", ONE % "imgs/a/b/c"),
        (["imgs/one", "imgs/two"], "imgs", TWO),
        # A folder of splits is preferred to those in it.
        (SPLITS, "imgs", ONE % "imgs/pets"),
        (SPLITS, "imgs/pets/train/cat", ONE % "imgs/pets"),
        (["imgs"], "imgs/cat", ONE % "imgs"),
    ],
)
def test_a_folder_too_high_or_too_deep_is_named_with_those_that_work(
    places: list[str], named: str, told: str, write: Write, tmp_path: Path
):
    for place in places:
        write(place)
    assert told.format(root=tmp_path) in refusal("mine", tmp_path / named)


def test_a_relative_folder_is_named_as_it_was_given(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = write("imgs/images")
    monkeypatch.chdir(tmp_path)
    for given in (Path("imgs"), Path("imgs/images/dog")):
        assert "data.root=imgs/images (" in refusal("mine", given)
    monkeypatch.chdir(place / "dog")
    assert f"data.root={place} (" in refusal("mine", Path())


def test_images_by_date_are_to_be_moved_up_and_no_folder_of_one_class_is_offered(
    write: Write,
):
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


def test_hidden_class_folders_are_named_where_no_other_is_there(write: Write):
    root = write("imgs", (".cat", ".dog"))
    (root / ".git").mkdir()
    assert refusal("mine", root).endswith("hidden folders are not read, such as '.cat', '.dog'")


def test_links_that_lead_up_end_the_look(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to("..")
    assert refusal("mine", tmp_path).endswith("in 'a'")


def test_no_more_than_some_folders_are_looked_at(write: Write, monkeypatch: pytest.MonkeyPatch):
    root = write("imgs/z/images").parents[1]
    for number in range(5):
        (root / f"a{number}").mkdir()
    assert "would work" in refusal("mine", root)
    monkeypatch.setattr(nested_images, "MAX_FOLDERS", 5)
    assert "would work" not in refusal("mine", root)


def test_training_images_without_class_folders_are_named(write: Write, tmp_path: Path):
    root = write("pets/test").parent
    write("pets", ["train"])
    assert f"{root}/train: no class folders" in refusal("mine", root)
