"""Folders that can be written or not, and new ones that appear whole or not at all."""

import errno
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest

from study.errors import StudyError
from study.storage.atomic import StorageError
from study.storage.new_folders import JOB, new_folder, refuse_unwritable, runs_in_copy


def make(folder: Path, fault: BaseException | None = None, meanwhile: Path | None = None):
    """Make a folder with a file, unless there is a fault; another process may write meanwhile."""
    with new_folder(folder) as place:
        place.mkdir()
        (place / "a.txt").write_text("a")
        assert not (folder / "a.txt").exists()
        if meanwhile:
            meanwhile.parent.mkdir()
            meanwhile.touch()
        if fault:
            raise fault


def test_a_folder_appears_once_it_is_whole_and_replaces_nothing(tmp_path: Path):
    out, other, link = tmp_path / "some" / "out", tmp_path / "other", tmp_path / "link"
    link.symlink_to(tmp_path / "nothing")
    out.mkdir(parents=True)
    make(out)
    for taken in (out, out / "a.txt", link):
        with pytest.raises(StorageError, match=f"{taken} already exists; expected a new"):
            make(taken)
    with pytest.raises(StorageError, match="other cannot be written"):
        make(other, meanwhile=other / "b.txt")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"some", "some/out", "some/out/a.txt", "link", "other", "other/b.txt"}


@pytest.mark.parametrize("fault", [OSError(28, "No space"), StudyError("x"), KeyboardInterrupt()])
def test_a_fault_leaves_nothing(tmp_path: Path, fault: BaseException):
    with pytest.raises((StudyError, KeyboardInterrupt)):
        make(tmp_path / "a" / "out", fault)
    assert not list((tmp_path / "a").iterdir())


def test_a_look_makes_no_folder_and_names_what_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "some" / "where", Path("runs")):
        refuse_unwritable(folder)
    for refused, by in (("/proc/x/y", "/proc"), ("/dev/null/x", "/dev/null")):
        with pytest.raises(StorageError, match=f"^{refused} cannot be written: {by} is not writ"):
            refuse_unwritable(Path(refused))
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    with pytest.raises(StorageError, match=r"No space left on device.*; free some space, then run"):
        refuse_unwritable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "submitted, copied",
    [("", False), ('{"runtime_env": null}', False), ('{"runtime_env": {"working_dir": ""}}', True)],
)
def test_a_job_with_a_working_folder_of_its_own_runs_in_a_copy(
    submitted: str, copied: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(JOB, submitted)
    assert runs_in_copy() is copied
