"""A study's folder has one driver, a name of its own, and only trials that are whole."""

import fcntl
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from study.storage.result_folder import FolderError
from study.storage.study_folder import LOCK, Registration, StudyFolder
from study.storage.trial_folder import End, TrialFolder


def test_a_study_is_created_once_with_an_identity_of_its_own_and_resume_is_named(
    folder: StudyFolder,
):
    other = StudyFolder(folder.path.with_name("other"))
    other.create("", {})
    assert other.read_identity()["study_id"] != folder.read_identity()["study_id"]
    with pytest.raises(
        FolderError, match=r"study 'mine' already exists in .*\n +clipfit-study resume /.*/mine$"
    ):
        folder.create("seed: 2\n", {})
    assert (folder.name, folder.config_path.read_text()) == ("mine", "seed: 1\n")


def test_a_study_has_one_driver_at_a_time_whom_a_look_finds_and_does_not_keep_out(
    folder: StudyFolder,
):
    assert not folder.has_driver(), "nobody has run it yet"
    with folder.locked():
        with pytest.raises(FolderError, match="running in another process"):
            StudyFolder(folder.path).locked().__enter__()
        assert [folder.has_driver() for _ in range(2)] == [True, True]
    assert not folder.has_driver()
    with (folder.path / LOCK).open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (looked_at, fcntl.LOCK_UN)).start()
        with folder.locked():
            assert folder.has_driver()


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


def test_a_study_is_complete_once_it_is_described_and_all_its_trials_have_ended(
    folder: StudyFolder, trial: TrialFolder, tmp_path: Path
):
    (folder.path / "trials" / "search-0000").mkdir()  # without a configuration it is no trial
    assert [t.trial_id for t in folder.trials()] == [trial.trial_id]
    folder.write("description.md", b"won")
    assert not folder.is_complete()
    trial.write_end(End("finished", 1, 1.0))
    assert folder.is_complete()
    folder.mark_incomplete(candidates=False)
    assert not folder.is_complete()
    assert not StudyFolder(tmp_path / "nowhere" / "mine").is_complete(), "nor is it waited for"


def test_a_best_configuration_is_loaded_by_its_version_since_the_alias_may_move():
    registration = Registration("clipfit-pets", "7", champion=True, reason="")
    assert registration.address == "models:/clipfit-pets@champion"
    assert '"models:/clipfit-pets/7"' in registration.loading_line
    assert replace(registration, champion=False).address == "models:/clipfit-pets/7"
