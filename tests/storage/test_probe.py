"""A folder that cannot be written is found out by writing, and nothing is left."""

import errno
import tempfile
from pathlib import Path

import pytest

from study.storage.atomic import StorageError
from study.storage.probe import JOB, refuse_unwritable, runs_in_copy
from tests.case_tables import from_table


def test_a_folder_that_can_be_made_passes_and_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "some" / "where", Path("runs")):
        refuse_unwritable(folder)
    assert list(tmp_path.iterdir()) == []


@from_table
def test_a_folder_in_which_nothing_can_be_made_is_named(folder: str, told: str):
    with pytest.raises(StorageError, match=f"^{folder} cannot be written: {told}"):
        refuse_unwritable(Path(folder))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(**_: object):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    with pytest.raises(StorageError, match="No space left on device"):
        refuse_unwritable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@from_table
def test_a_job_with_a_working_folder_of_its_own_runs_in_a_copy(
    submitted: str | None, copied: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(JOB, raising=False)
    if submitted is not None:
        monkeypatch.setenv(JOB, submitted)
    assert runs_in_copy() is copied
