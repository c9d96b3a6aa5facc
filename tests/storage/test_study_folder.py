"""A study's folder has one driver, a name of its own, and only trials that are whole."""

import fcntl
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from study.storage import study_folder
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import BRIEFLY_SECONDS, LOCK, Registration, StudyFolder
from study.storage.trial_folder import TrialFolder
from tests.case_tables import from_table
from tests.clock import Clock


def test_a_study_is_created_once_with_an_identity_of_its_own_and_resume_is_named(
    folder: StudyFolder,
):
    other = StudyFolder(folder.path.with_name("other"))
    other.create("", {})
    assert other.read_identity()["study_id"] != folder.read_identity()["study_id"]
    with pytest.raises(
        LedgerError, match=r"study 'mine' exists in .*\n +clipfit-study resume mine storage=/"
    ):
        folder.create("seed: 2\n", {})
    assert (folder.name, folder.config_path.read_text()) == ("mine", "seed: 1\n")


def refused(lock: AbstractContextManager[None]):
    with pytest.raises(LedgerError, match="run by another process"):
        lock.__enter__()


def test_of_two_that_claim_one_name_at_once_the_second_is_kept_out_until_the_first_has_gone(
    tmp_path: Path,
):
    first, second = (StudyFolder(tmp_path / "runs" / "mine") for _ in range(2))
    first.claim()
    second.claim()
    with first.locked():
        refused(second.locked())
        first.create("seed: 1\n", {})
    with second.locked():
        assert second.exists()


def test_what_is_soon_over_is_waited_for_and_a_driver_is_not(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
):
    brief = StudyFolder(folder.path).locked(briefly=True)
    brief.__enter__()
    clock = Clock({3.0: lambda: brief.__exit__(None, None, None)})
    monkeypatch.setattr(study_folder, "time", clock)
    began = clock.now
    with folder.locked():
        assert clock.now - began >= 3, "it was waited for"
        began = clock.now
        refused(StudyFolder(folder.path).locked(briefly=True))
        assert clock.now - began < BRIEFLY_SECONDS / 2


def test_who_looks_for_a_driver_finds_it_and_keeps_none_out(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
):
    assert not folder.has_driver(), "nobody has run it yet"
    with folder.locked():
        assert folder.has_driver()
        assert folder.has_driver(), "nor does a look take it away"
    assert not folder.has_driver()
    with folder.locked(briefly=True):
        assert not folder.has_driver(), "what is soon over is no driver"
    with (folder.path / LOCK).open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        looks_away = {0.05: lambda: fcntl.flock(looked_at, fcntl.LOCK_UN)}
        monkeypatch.setattr(study_folder, "time", Clock(looks_away))
        with folder.locked():
            assert folder.has_driver()


def test_only_folders_with_a_configuration_are_trials(folder: StudyFolder, trial: TrialFolder):
    (folder.path / "trials" / "search-0000").mkdir()  # a driver that died here comes back to it
    assert [t.trial_id for t in folder.trials()] == [trial.trial_id]


@from_table
def test_a_winner_is_loaded_by_its_alias_or_where_that_may_move_by_its_version(
    champion: bool, lasting: bool, address: str
):
    line = Registration("clipfit-pets", "7", champion, "").loading_line(lasting=lasting)
    model = f'"models:/clipfit-pets{address}"'
    assert line == f'mlflow.pyfunc.load_model({model}).predict(["image.png"])'
