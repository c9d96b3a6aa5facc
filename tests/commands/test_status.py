"""What is read from the folders of studies: ``status``, ``list`` and ``sync``."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from study.commands.status import Status, study_status
from study.results.chance import ChanceComparison
from study.results.study_result import read_study_result
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker, TrackerMessages
from study.trial.study import Candidate
from tests.commands.conftest import Run
from tests.settings import settings
from tests.study_writer import StudyWriter


@pytest.fixture
def written(here: Path) -> StudyWriter:
    return StudyWriter(here / "runs" / "mine")


def read(written: StudyWriter) -> Status:
    return study_status(read_study_result(written.folder.path))


def test_trials_are_counted_and_the_best_come_first(written: StudyWriter, run: Run):
    written.whole(1)
    written.whole(2)
    written.whole(3, "stopped")
    written.whole(6, "failed", 2, reason="no epoch within 9 s [/]", error="Timeout\nThread")
    written.report(written.trial(4), 1)
    written.end(written.trial(5, group="baseline", label="linear"))
    with written.folder.locked():
        status = read(written)
        said = run("status", "mine").out
    assert status.counts == {
        "search": {"finished": 3, "stopped": 1, "unfinished": 1, "failed": 1},
    }
    running = [(trial.trial_id, trial.epochs, trial.epochs_planned) for trial in status.running]
    assert running == [("search-0004", 1, 3)]
    assert [trial.number for trial in status.best[:2]] == [2, 1]
    assert status.planned == 49, "with the linear classifier, which stands outside the 48"
    assert "search: 6 of 49 trials" in said
    assert ("no epoch within 9 s [/]" in said, "Thread" in said) == (True, False)


def test_a_study_without_a_driver_is_interrupted_until_all_is_done_and_described(
    written: StudyWriter,
):
    with written.folder.locked():
        assert read(written).state == "searching"
    assert read(written).state == "interrupted"
    written.whole(1)
    written.conclude()
    assert read(written).state == "finished"
    written.trial(2)
    assert read(written).state == "interrupted"


@pytest.mark.usefixtures("mine")
def test_looking_changes_nothing_and_json_has_the_fields_of_the_object(here: Path, run: Run):
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    status = json.loads(run("status", "mine", "--json").out)
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before
    assert tuple(status) == tuple(field.name for field in fields(Status))
    assert all({"trial_id", "status", "settings"} <= trial.keys() for trial in status["running"])


@pytest.mark.parametrize("low, beats_chance", [(0.3, False), (0.51, True)])
def test_scores_of_the_best_configuration_have_their_uncertainty(
    written: StudyWriter, low: float, beats_chance: bool, run: Run
):
    best = Candidate(
        label="best",
        settings=settings("vision.ln"),
        val_score=0.2,
        training="abc",
        search_trials=8,
    )
    head = best.settings.model_copy(update={"head": "linear"})
    written.choose(best, best.model_copy(update={"label": "linear", "settings": head}))
    config = written.trial(1, trial_id="test-abc-seed1", stage="test", label="abc")
    report = {"epoch": 4, "seconds": 1.0, "scores": {"text": {"score": 0.75}}}
    written.folder.trial(config.trial_id).append_reports(report)
    written.end(config)
    against = ChanceComparison(0.6, 0.5, images=8, low=low)
    written.folder.write_json("chance.json", {"best": against})
    with written.folder.locked():
        status = read(written)
    assert (status.state, status.val_score, status.test_score) == ("testing", 0.2, 0.75)
    assert status.against_chance == against
    assert status.counts == {"test": {"finished": 1}}, "a test with two heads is one trial"
    said = " ".join(run("status", "mine").out.split())
    assert ("not significantly better than chance" in said) != beats_chance


def test_the_list_has_state_scores_and_trials(mine: StudyFolder, here: Path, run: Run):
    assert mine.exists()
    (here / "runs" / "images").mkdir()
    StudyWriter(here / "runs" / "lost").folder.config_path.unlink()
    broken = StudyWriter(here / "runs" / "broken").folder
    broken.trial("search-0001").create({})
    (broken.path / "trials/search-0001/config.json").write_text("{")
    rows = [tuple(row.values()) for row in json.loads(run("list", "--json").out)]
    assert rows == [
        ("broken", "damaged", 1, None, None),
        ("lost", "damaged", 0, None, None),
        ("mine", "interrupted", 2, pytest.approx(0.13), None),
    ]
    assert re.search(r"mine +interrupted +2 +13.0 +–", run("list", "storage=runs").out)


@pytest.mark.parametrize("command", [["list"], ["status", "mine"]], ids=" ".join)
def test_the_command_that_continues_is_printed_for_what_is_interrupted_alone(
    mine: StudyFolder, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    storage = (here / "runs").rename(here / "a folder with [red]spaces and $HOME in its name")
    StudyWriter(storage / "done").conclude()
    monkeypatch.setenv("COLUMNS", "40")
    words = [*command, f"storage={storage}"]
    (line,) = re.findall(".*clipfit-study.*", run(*words).out)
    *program, place = shlex.split(line)
    assert program == ["clipfit-study", "resume"]
    assert Path(place).samefile(storage / "mine")
    with StudyFolder(storage / "mine").locked():
        assert "clipfit-study" not in run(*words).out


def test_a_storage_may_be_empty(here: Path, run: Run):
    assert run("list").out == "no studies in runs\n"
    assert not any(here.iterdir())


def test_a_study_that_runs_or_has_no_tracker_is_not_synced(
    mine: StudyFolder, refused: Callable[..., str]
):
    assert "tracking.tracker is none" in refused("sync", "mine", "tracking.tracker=none")
    with mine.locked():
        assert "running in another process" in refused("sync", "mine")


@pytest.mark.usefixtures("mine")
def test_a_study_is_sent_and_what_its_tracker_lacks_is_named(
    run: Run, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    tracker = create_autospec(Tracker, instance=True, title="MLflow")
    monkeypatch.setattr("study.tracking.make_tracker", lambda _: tracker)
    tracker.close.return_value = TrackerMessages()
    assert run("sync", "mine").out == "2 trials of mine are in MLflow\n"
    tracker.close.return_value = TrackerMessages("1 run:\n  search-0000: away")
    assert "MLflow lacks results of study 'mine': 1 run: search-0000: away" in refused(
        "sync", "mine"
    )
    tracker.register.assert_not_called()  # the study has not ended
