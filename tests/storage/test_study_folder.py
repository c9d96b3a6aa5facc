"""A study's folder has one driver, a name of its own, and only trials that are whole."""

import fcntl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from study.storage.atomic import StorageError
from study.storage.result_folder import FolderError
from study.storage.study_folder import LOCK, Registration, StudyFolder
from study.storage.trial_folder import TrialFolder


def test_a_study_is_created_once_with_an_identity_of_its_own_and_resume_is_named(
    folder: StudyFolder,
):
    other = StudyFolder(folder.path.with_name("other"))
    other.create("", {})
    assert other.read_identity()["study_id"] != folder.read_identity()["study_id"]
    with pytest.raises(
        FolderError, match=r"study 'mine' exists in .*\n +clipfit-study resume /.*/mine$"
    ):
        folder.create("seed: 2\n", {})
    assert (folder.name, folder.config_path.read_text()) == ("mine", "seed: 1\n")


def test_an_interrupted_creation_leaves_a_folder_that_can_be_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = StudyFolder(tmp_path / "runs" / "mine")
    with monkeypatch.context() as patch:
        patch.setattr(StudyFolder, "write_json", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            folder.create("seed: 1\n", {})
    assert not folder.path.exists()
    folder.create("seed: 1\n", {})
    assert folder.exists()


def test_of_two_processes_that_create_a_study_at_once_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = (StudyFolder(tmp_path / "mine") for _ in range(2))
    write = StudyFolder.write_json

    def create_meanwhile(*given: Any):
        monkeypatch.undo()
        first.create("seed: 1\n", {})
        write(*given)

    monkeypatch.setattr(StudyFolder, "write_json", create_meanwhile)
    with pytest.raises(StorageError, match="mine cannot be written"):
        second.create("seed: 2\n", {})
    assert first.config_path.read_text() == "seed: 1\n"
    assert list(tmp_path.iterdir()) == [first.path]


def test_a_study_has_one_driver_at_a_time_whom_a_look_finds_and_does_not_keep_out(
    folder: StudyFolder,
):
    assert not folder.has_driver(), "nobody has run it yet"
    with folder.locked():
        with pytest.raises(FolderError, match="run by another process"):
            StudyFolder(folder.path).locked().__enter__()
        assert folder.has_driver()
        assert folder.has_driver(), "nor does a look take it away"
    assert not folder.has_driver()
    with (folder.path / LOCK).open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        timer = threading.Timer(0.3, fcntl.flock, (looked_at, fcntl.LOCK_UN))
        timer.start()
        with folder.locked():
            assert folder.has_driver()
        timer.join()


def test_an_empty_folder_may_become_a_study_and_nothing_else_is_touched(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    StudyFolder(tmp_path / "empty").create("seed: 1\n", {})
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for contents in ("photo/photo.png", "study/data.csv", "trial/trials/notes.txt"):
        (tmp_path / contents).parent.mkdir(parents=True)
        (tmp_path / contents).touch()
    for name in ("file", "link", "photo", "study", "trial"):
        before = [*(tmp_path / name).rglob("*")]
        with pytest.raises(StorageError, match="already exists"):
            StudyFolder(tmp_path / name).create("seed: 1\n", {})
        assert [*(tmp_path / name).rglob("*")] == before


def test_a_study_without_trials_is_removed_and_what_it_did_not_make_stays(tmp_path: Path):
    mine, yours, theirs = (StudyFolder(tmp_path / name) for name in ("mine", "yours", "theirs"))
    for folder in (mine, yours, theirs):
        folder.create("seed: 1\n", {})
    (yours.path / "notes").touch()
    theirs.trial("search-0000").create({})
    for folder in (mine, yours, theirs):
        folder.remove_if_unused()
    assert not mine.path.exists()
    assert list(yours.path.iterdir()) == [yours.path / "notes"]
    assert theirs.exists()


@pytest.mark.parametrize("lost", ["study.yaml", "identity.json"])
def test_a_study_that_lost_a_file_is_still_one_and_its_file_is_named(
    folder: StudyFolder, trial: TrialFolder, lost: str
):
    (folder.path / lost).unlink()
    assert folder.exists()
    with pytest.raises(FolderError, match=rf"{lost} is missing; restore it from a backup"):
        folder.refuse_damaged()


def test_a_study_that_is_nowhere_is_not_complete_and_not_waited_for(tmp_path: Path):
    assert not StudyFolder(tmp_path / "nowhere" / "mine").is_complete()


def test_only_folders_with_a_configuration_are_trials(folder: StudyFolder, trial: TrialFolder):
    (folder.path / "trials" / "search-0000").mkdir()  # a driver that died here comes back to it
    assert [t.trial_id for t in folder.trials()] == [trial.trial_id]


def test_a_best_configuration_is_loaded_by_its_version_since_the_alias_may_move():
    registration = Registration("clipfit-pets", "7", champion=True, reason="")
    assert registration.address == "models:/clipfit-pets@champion"
    assert '"models:/clipfit-pets/7"' in registration.loading_line
    assert replace(registration, champion=False).address == "models:/clipfit-pets/7"
