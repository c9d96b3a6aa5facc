"""The files of a dataset are looked at without decoding any."""

from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.data.file_checks import FileFaults, check_files, refuse_absent
from study.data.records import Dataset
from study.errors import DataError
from tests.data.reading import add


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image folder of two classes; every file has contents of its own, and all one size."""
    for number in range(12):
        split, label = ("train", "test")[number % 2], ("cat", "dog")[number % 4 // 2]
        file = tmp_path / "images" / split / label / f"{number // 4}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number:2}")
    return tmp_path / "images"


def read(root: Path) -> Dataset:
    return load_dataset("mine", root)


def link(path: Path, target: str | Path):
    """Put a link in the place of a file."""
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(
    "same, found",
    [
        ("train/dog/1.png", FileFaults(in_two_classes=(("train/cat/0.png", "train/dog/1.png"),))),
        ("test/cat/2.png", FileFaults(in_two_splits=(("test/cat/2.png", "train/cat/0.png"),))),
        ("train/cat/1.png", FileFaults()),  # two of one class and split
    ],
)
def test_the_same_file_in_two_classes_or_in_train_and_test_is_found(
    same: str, found: FileFaults, root: Path
):
    (root / "train/cat/0.png").write_bytes((root / same).read_bytes())
    assert check_files(read(root)) == found


def test_what_is_below_class_folders_and_not_read_is_found(root: Path):
    unread = ("cover.png", "other/cat/0.png", "train/cat/a.HEIC", "train/cat/album/0.png")
    passed_over = ("LICENSE", ".cat/0.png", "__MACOSX/0.png", "train/cat/.1.png", "mlruns/a/0.png")
    add(root, *unread, *passed_over)
    (root / "train/cat/album/up").symlink_to("..")
    assert check_files(read(root)).unread == unread


def test_empty_files_are_not_the_same_image_and_broken_links_are_absent(root: Path):
    for name in ("train/cat/0.png", "train/dog/0.png", "test/dog/1.png"):
        (root / name).write_bytes(b"")
    link(root / "test/cat/1.png", "nowhere")
    assert check_files(read(root)) == FileFaults(absent=("test/cat/1.png",))


def test_a_test_image_that_is_not_there_is_refused_unless_it_is_left_out(root: Path):
    digits = load_dataset("digits")
    assert check_files(digits) == FileFaults()
    refuse_absent(digits, "fail")
    link(root / "train/cat/0.png", "nowhere")
    refuse_absent(read(root), "fail")
    link(root / "test/dog/2.png", "nowhere")
    with pytest.raises(DataError, match=r"^mine: not in .*: 1 of 6 test images, 'test/dog/2"):
        refuse_absent(read(root), "fail")
    refuse_absent(read(root), "skip")
