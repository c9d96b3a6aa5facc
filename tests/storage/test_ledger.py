"""A study's folder loses nothing, and says what is damaged."""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clock import Clock
from damage import cut, flip, overwrite

from study.storage import ledger
from study.storage.ledger import (
    BRIEFLY_SECONDS,
    LOCK,
    End,
    LedgerError,
    Registration,
    StudyFolder,
    TrialFolder,
)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    study = StudyFolder(tmp_path / "runs" / "mine")
    study.create("seed: 1\n", {"git_commit": "abc"})
    return study


@pytest.fixture
def trial(folder: StudyFolder) -> TrialFolder:
    trial = folder.trial("search-0001")
    trial.create({"number": 1})
    return trial


def test_a_study_is_created_with_an_identity_of_its_own(folder: StudyFolder) -> None:
    assert folder.name == "mine"
    assert folder.config_path.read_text() == "seed: 1\n"
    assert folder.read_identity()["git_commit"] == "abc"
    other = StudyFolder(folder.path.with_name("other"))
    other.create("", {})
    assert other.read_identity()["study_id"] != folder.read_identity()["study_id"]


def test_a_study_that_exists_is_refused_and_resume_is_named(folder: StudyFolder) -> None:
    with pytest.raises(
        LedgerError, match=r"study 'mine' exists in .*\n +clipfit-study resume mine storage=/"
    ):
        folder.create("seed: 2\n", {})
    assert folder.config_path.read_text() == "seed: 1\n"


def test_a_second_driver_is_kept_out_until_the_first_has_gone(folder: StudyFolder) -> None:
    with (
        folder.locked(),
        pytest.raises(LedgerError, match="run by another process"),
        StudyFolder(folder.path).locked(),
    ):
        pytest.fail("two drivers")
    with folder.locked():
        pass


def test_of_two_that_claim_one_name_at_once_the_second_is_refused(tmp_path: Path) -> None:
    first, second = (StudyFolder(tmp_path / "runs" / "mine") for _ in range(2))
    first.claim()
    second.claim()
    with first.locked():
        with pytest.raises(LedgerError, match="run by another process"), second.locked():
            second.create("seed: 2\n", {})
        first.create("seed: 1\n", {})
    assert first.config_path.read_text() == "seed: 1\n"


def test_what_is_soon_over_is_waited_for_and_a_driver_is_not(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = StudyFolder(folder.path).locked(briefly=True)
    brief.__enter__()
    clock = Clock({3.0: lambda: brief.__exit__(None, None, None)})
    monkeypatch.setattr(ledger, "time", clock)
    began = clock.now
    with folder.locked():
        assert clock.now - began >= 3, "it was waited for"
        began = clock.now
        with pytest.raises(LedgerError, match="run by another process"):
            StudyFolder(folder.path).locked(briefly=True).__enter__()
        assert clock.now - began < BRIEFLY_SECONDS / 2


def test_who_looks_for_a_driver_finds_it_and_keeps_none_out(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        monkeypatch.setattr(ledger, "time", Clock(looks_away))
        with folder.locked():
            assert folder.has_driver()


def test_a_killed_driver_leaves_no_lock(folder: StudyFolder) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path\n"
        "from study.storage.ledger import StudyFolder\n"
        "with StudyFolder(Path(sys.argv[1])).locked(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(folder.path)], check=False)
    assert ended.returncode == -9
    with folder.locked():
        pass


def test_a_trial_keeps_the_configuration_it_began_with(trial: TrialFolder) -> None:
    trial.create({"number": 2})
    assert trial.read_config() == {"number": 1}
    assert trial.trial_id == "search-0001"


def test_reports_come_back_in_order(trial: TrialFolder) -> None:
    assert trial.read_reports() == []
    written = [{"epoch": epoch, "val_score": epoch / 3} for epoch in range(1, 5)]
    for report in written:
        trial.append_report(report)
    assert trial.read_reports() == written


def test_a_report_that_a_crash_cut_short_is_left_out_and_written_over(trial: TrialFolder) -> None:
    trial.append_report({"epoch": 1})
    with (trial.path / "reports.jsonl").open("a") as file:
        file.write('{"epoch": 2, "val_sc')
    assert trial.read_reports() == [{"epoch": 1}]
    trial.keep_reports(1)
    trial.append_report({"epoch": 2})
    assert trial.read_reports() == [{"epoch": 1}, {"epoch": 2}]


def test_reports_after_the_last_state_are_dropped(trial: TrialFolder) -> None:
    for epoch in (1, 2, 3):
        trial.append_report({"epoch": epoch})
    trial.keep_reports(2)
    assert trial.read_reports() == [{"epoch": 1}, {"epoch": 2}]
    trial.keep_reports(0)
    assert trial.read_reports() == []


def test_a_number_that_json_lacks_is_refused(trial: TrialFolder) -> None:
    with pytest.raises(ValueError, match="JSON"):
        trial.append_report({"epoch": 1, "val_score": float("nan")})


def test_an_end_is_read_back_and_the_state_is_gone(trial: TrialFolder) -> None:
    (trial.path / "state.safetensors").write_bytes(b"state")
    assert trial.read_end() is None
    end = End("stopped", 3, 1.5, reason="successive halving at epoch 3")
    trial.write_end(end)
    assert trial.read_end() == end
    assert not (trial.path / "state.safetensors").exists()


STOPPED = End("stopped", 3, 1.5, reason="successive halving at epoch 3")


def test_how_a_trial_had_ended_that_is_reopened_is_known_until_it_ends_again(
    trial: TrialFolder,
) -> None:
    trial.write_end(STOPPED)
    for _ in range(2):  # a repair that was killed is done again
        trial.reopen()
        assert (trial.read_end(), trial.read_earlier_end()) == (None, STOPPED)
    trial.write_end(End("finished", 4, 2.0))
    assert trial.read_earlier_end() is None


def test_a_reason_that_a_trial_had_for_not_training_is_none_where_it_trains(
    trial: TrialFolder,
) -> None:
    trial.write_end(End("finished", 4, 0.0, reason="the training is that of another"))
    trial.reopen()
    assert trial.read_earlier_end() == End("finished", 4, 0.0)


@pytest.mark.parametrize("damaged", ["end.json", "earlier_end.json"])
@pytest.mark.parametrize("damage", [cut, overwrite])
def test_a_damaged_end_tells_nothing(
    trial: TrialFolder, damaged: str, damage: Callable[[Path], None]
) -> None:
    trial.write_end(STOPPED)
    for name in ("end.json", "earlier_end.json"):
        if name == damaged:
            damage(trial.path / name)
        trial.reopen()
    assert trial.read_earlier_end() is None


def test_an_end_that_was_changed_or_a_failure_is_no_end_to_come_to_again(
    trial: TrialFolder,
) -> None:
    trial.write_end(STOPPED)
    flip(trial.path / "end.json", b"3")
    trial.reopen()
    assert trial.read_earlier_end() is None
    trial.write_end(End("failed", 1, 1.0))
    trial.reopen()
    assert trial.read_earlier_end() is None


def test_damage_is_told_with_the_file(folder: StudyFolder, trial: TrialFolder) -> None:
    (trial.path / "reports.jsonl").write_bytes(b"\0\0\0\n")
    with pytest.raises(LedgerError, match=r"reports\.jsonl is damaged"):
        _ = trial.read_reports()
    (trial.path / "end.json").write_text('{"status"')
    with pytest.raises(LedgerError, match=r"end\.json is damaged"):
        _ = trial.read_end()
    (trial.path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(LedgerError, match=r"config\.json is damaged"):
        _ = trial.read_config()
    folder.write_json("candidates.json", [1])
    (folder.path / "candidates.json").write_text("[")
    with pytest.raises(LedgerError, match=r"candidates\.json is damaged"):
        folder.read_json("candidates.json")


def test_an_end_of_another_version_is_damage_and_no_crash(trial: TrialFolder) -> None:
    (trial.path / "end.json").write_text('{"status": "finished", "verdict": "good"}')
    with pytest.raises(LedgerError, match=r"end\.json is damaged"):
        _ = trial.read_end()


def test_only_folders_with_a_configuration_are_trials(
    folder: StudyFolder, trial: TrialFolder
) -> None:
    (folder.path / "trials" / "search-0000").mkdir()  # a driver that died here comes back to it
    assert [t.trial_id for t in folder.trials()] == ["search-0001"]


def test_what_was_not_written_is_none(folder: StudyFolder) -> None:
    assert folder.read_json("candidates.json") is None
    folder.write_json("candidates.json", [{"λ": 1}])
    assert folder.read_json("candidates.json") == [{"λ": 1}]


def test_a_winner_is_loaded_by_its_alias_or_where_that_may_move_by_its_version() -> None:
    champion, other = (Registration("clipfit-pets", "7", won, "") for won in (True, False))

    def line(address: str) -> str:
        return f'mlflow.pyfunc.load_model("models:/clipfit-pets{address}").predict(["image.png"])'

    assert champion.loading_line() == line("@champion")
    assert champion.loading_line(lasting=True) == line("/7")
    assert other.loading_line() == other.loading_line(lasting=True) == line("/7")
