"""Folders that can be written or not, and new ones that appear whole or not at all."""

import errno
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest

from study.errors import StudyError
from study.storage.atomic import StorageError
from study.storage.new_folders import JOB, new_folder, refuse_unwritable, runs_in_copy


def write(place: Path):
    place.mkdir()
    (place / "a.txt").write_text("a")


def test_a_folder_appears_once_it_is_whole_and_in_the_place_of_an_empty_one_alone(tmp_path: Path):
    out = tmp_path / "some" / "out"
    for _ in range(2):
        with new_folder(out) as place:
            write(place)
            assert not (out / "a.txt").exists()
            assert place.parent.parent == out.parent
        assert list(tmp_path.rglob("*.txt")) == [out / "a.txt"]
        assert list(out.parent.iterdir()) == [out]
        for taken in (out, out / "a.txt"):
            with pytest.raises(StorageError, match=f"{taken} already exists; expected a new"):
                new_folder(taken).__enter__()
        (out / "a.txt").unlink()


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), StudyError("no model")])
def test_a_fault_leaves_nothing(tmp_path: Path, fault: Exception):
    def fail():
        with new_folder(tmp_path / "a" / "b" / "out") as place:
            write(place)
            raise fault

    with pytest.raises(StudyError, match=r"No space left|no model"):
        fail()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_a_look_makes_no_folder_and_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "some" / "where", Path("runs")):
        refuse_unwritable(folder)
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    with pytest.raises(StorageError, match=r"No space left on device.*; free some space, then run"):
        refuse_unwritable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc/x/y/z", "/dev/null/x"])
def test_a_folder_in_which_nothing_can_be_made_is_named(folder: str):
    reason = f"/{'/'.join(folder.split('/')[1:3])}" if "null" in folder else "/proc"
    with pytest.raises(StorageError, match=f"^{folder} cannot be written: {reason} is not writ"):
        refuse_unwritable(Path(folder))


@pytest.mark.parametrize(
    "submitted, copied",
    [
        ("", False),
        ('{"runtime_env": null}', False),
        ('{"runtime_env": {"working_dir": "gcs://_ray_pkg_0.zip"}}', True),
    ],
)
def test_a_job_with_a_working_folder_of_its_own_runs_in_a_copy(
    submitted: str, copied: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(JOB, submitted)
    assert runs_in_copy() is copied
