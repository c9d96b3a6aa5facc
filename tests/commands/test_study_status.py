"""How far a study is, told from its folder alone, and by its driver while trials run."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from study.commands.study_status import Status, study_status
from study.config.loading import build_config, dump_config
from study.results.chance import AgainstChance
from study.results.study_result import read_study_result
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Prediction
from tests.changed_studies import forget_images
from tests.commands.conftest import Run
from tests.written_study import Written


@pytest.fixture
def written(here: Path) -> Written:
    return Written(here / "runs", "mine")


def add(written: Written, number: int, **changes: Any):
    """Write a finished trial that is another one than those of the search."""
    config = written.trial(number, **changes)
    written.report(config, 1)
    written.end(config)


def read(written: Written) -> Status:
    return study_status(read_study_result(written.folder.path))


def test_done_running_and_best_are_told(written: Written):
    for number, end in enumerate(("finished", "finished", "stopped"), 1):
        written.whole(number, end)
    written.report(written.trial(4), 1)
    with written.folder.locked():
        status = read(written)
    assert status.counts == {"search": {"finished": 2, "stopped": 1, "unfinished": 1}}
    running = [(trial.trial_id, trial.epochs, trial.epochs_planned) for trial in status.running]
    assert running == [("search-0004", 1, 3)]
    assert [trial.number for trial in status.best] == [2, 1]


def test_other_methods_stand_outside_the_planned_trials(written: Written, run: Run):
    written.whole(1)
    add(written, 3, group="baseline", label="linear")
    add(written, 4, group="baseline", label="ln")
    counts = {"search": {"finished": 2}, "other methods": {"finished": 1}}
    assert read(written).counts == counts
    said = run("status", "mine").out
    assert "search: 2 of 48 trials: 2 finished" in said
    beside = next(line for line in said.splitlines() if line.startswith("other methods"))
    assert beside.endswith(": 1 trial: 1 finished")


def test_the_best_are_told_with_the_head_that_validation_chose(written: Written, run: Run):
    config = written.trial(1, subset="vision.ln", ln_lr=0.1, head=None, strength=0.75)
    chosen = {"epoch": 1, "val_score": 0.1, "head": "linear"}
    written.folder.trial(config.trial_id).append_report(chosen)
    written.end(config)
    row = "search-0001 10.00 linear 0.75 – 0.1 0 vision.ln"
    assert f"subset {row}" in " ".join(run("status", "mine").out.split())


def test_a_study_is_interrupted_once_no_driver_holds_it_and_finished_once_it_is_described(
    written: Written,
):
    written.trial(1)
    with written.folder.locked():
        assert read(written).state == "searching"
    assert read(written).state == "interrupted"
    written.folder.write_json("candidates.json", [])
    assert read(written).state == "interrupted"
    written.whole(1)
    written.conclude()
    assert read(written).state == "finished"
    written.trial(2)
    assert read(written).state == "interrupted"


def test_what_failed_is_told_with_its_cause(written: Written, run: Run):
    reason = "no epoch within 9 seconds [/]"
    written.whole(1, "failed", 2, reason=reason, error="Timeout\nThread")
    said = run("status", "mine").out
    assert f"search-0001  2       {reason}" in said
    assert "Thread" not in said


def test_a_clock_that_is_ahead_makes_no_silence_of_less_than_nothing(written: Written):
    written.report(written.trial(1), 1)
    ahead = time.time() + 3600
    os.utime(written.folder.trial("search-0001").path / "reports.jsonl", (ahead, ahead))
    assert read(written).silent == {"search-0001": 0}


def test_an_extension_is_told(written: Written):
    written.folder.write_json("extensions.json", [{"from": 8, "to": 12, "candidates": None}])
    assert read(written).extended == [8]


def test_an_ablation_has_no_planned_number_of_trials(written: Written, run: Run):
    ablation = {"design": "only_one", "rates": [0.1, 0.2]}
    config = build_config({"name": "mine", "ablation": ablation}, "test")
    written.folder.write_config(dump_config(config))
    written.whole(1)
    assert "search: 1 trial: 1 finished" in run("status", "mine").out


def test_looking_changes_nothing(mine: Any, here: Path, run: Run):
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()}
    run("status", "mine")
    assert {p: p.stat().st_mtime_ns for p in here.rglob("*") if p.is_file()} == before


@pytest.fixture
def tested(written: Written) -> Written:
    """A study that has chosen and tested one configuration, by a trial that guesses."""
    choice = {"label": "best", "val_score": 0.2, "settings": {"subset": "vision.ln"}}
    choice |= {"training": "abc", "choice": 8}
    written.folder.write_json("candidates.json", [choice])
    test = {"trial_id": "test-abc-seed1", "stage": "test", "label": "abc"}
    config = written.trial(1, **test)
    trial = written.folder.trial(config.trial_id)
    shown = [Prediction("text", "accuracy", f"{n}.png", "ab"[n // 6], "a", 0.9) for n in range(8)]
    trial.write("predictions.parquet", predictions_to_parquet(shown))
    trial.append_report({"epoch": 4, "scores": {"text": {"score": 0.75}}})
    written.end(config)
    return written


@pytest.mark.parametrize("low, beats_chance", [(0.3, False), (0.51, True)])
def test_the_scores_of_the_best_configuration_are_given_with_a_doubt_of_them(
    tested: Written, low: float, beats_chance: bool, run: Run
):
    against = AgainstChance(0.6, 0.5, images=8, low=low)
    tested.folder.write_json("chance.json", {"best": against})
    status = read(tested)
    assert (status.val_score, status.test_score, status.balanced) == (0.2, 0.75, 0.5)
    assert status.against_chance == against
    said = " ".join(run("status", "mine").out.split())
    assert "20.0 % on validation" in said
    assert "75.0 % on test, balanced 50.0 %" in said
    assert ("not shown to beat chance" in said) != beats_chance


def test_a_test_with_two_heads_is_one_trial(tested: Written):
    (choice,) = tested.folder.read_json("candidates.json")
    linear = choice | {"label": "linear", "settings": choice["settings"] | {"head": "linear"}}
    tested.folder.write_json("candidates.json", [choice, linear])
    assert len(read_study_result(tested.folder.path).trials) == 2
    assert read(tested).counts == {"test": {"finished": 1}}


def test_a_choice_without_predictions_has_no_balanced_score(tested: Written):
    forget_images(tested.folder.path)
    status = read(tested)
    assert (status.test_score, status.balanced) == (0.75, None)
