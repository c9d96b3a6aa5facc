"""Folders that appear whole or not at all."""

from pathlib import Path

import pytest

from study.errors import StudyError
from study.storage.atomic import StorageError
from study.storage.folders import new_folder


def write(place: Path):
    place.mkdir()
    (place / "a.txt").write_text("a")


def test_a_folder_appears_once_it_is_whole(tmp_path: Path):
    out = tmp_path / "some" / "out"
    with new_folder(out) as place:
        write(place)
        assert not out.exists()
        assert place.parent.parent == out.parent
    assert list(tmp_path.rglob("*.txt")) == [out / "a.txt"]
    assert list(out.parent.iterdir()) == [out]


def test_an_empty_folder_is_filled_and_no_other_is_touched(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    with new_folder(out) as place:
        write(place)
    for taken in (out, out / "a.txt"):
        with pytest.raises(StorageError, match=f"{taken} is taken; allowed is a new"):
            new_folder(taken).__enter__()
    assert (out / "a.txt").read_text() == "a"


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), StudyError("no model")])
def test_a_fault_leaves_nothing(tmp_path: Path, fault: Exception):
    def fail():
        with new_folder(tmp_path / "a" / "b" / "out") as place:
            write(place)
            raise fault

    with pytest.raises(StudyError, match=r"No space left|no model"):
        fail()
    assert not list((tmp_path / "a" / "b").iterdir())
