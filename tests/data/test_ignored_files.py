"""What is in a dataset's folder and is not read is found, as far as it may have been meant."""

from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.data.ignored_files import Unread, find_unread
from study.data.images.sources import FolderSource


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image folder of two classes, with folders of splits."""
    for folder in ("train/cat", "train/dog", "test/cat", "test/dog"):
        add(tmp_path, f"{folder}/0.png", f"{folder}/1.png")
    return tmp_path


def unread_in(root: Path) -> Unread:
    source = load_dataset("mine", root).source
    assert isinstance(source, FolderSource)
    return find_unread(source)


def add(root: Path, *names: str):
    """Add empty files, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_folder_of_class_folders_alone_has_nothing_unread(root: Path):
    add(root, ".DS_Store", "train/Thumbs.db", ".git/config", "__MACOSX/cat/0.png", "read.me")
    assert unread_in(root) == Unread()


def test_other_files_and_deeper_images_in_class_folders_are_found(root: Path):
    add(root, "train/cat/a.HEIC", "train/cat/b/0.jpg", "test/dog/b/a.heic", "test/dog/c", "d.x")
    (root / "train/cat/b/up").symlink_to("..")
    found = unread_in(root)
    assert (found.suffixes, found.deeper) == ({".heic": 2, "": 1}, ("train/cat/b/0.jpg",))
    unsplit = unread_in(root / "train")
    assert (unsplit.suffixes, unsplit.deeper) == ({".heic": 1}, ("cat/b/0.jpg",))


def test_nothing_is_looked_for_where_a_table_lists_the_images(root: Path):
    add(root, "cover.png", ".cat/0.png")
    assert find_unread(FolderSource(root)) == Unread()
