"""A trial's folder loses no report, and knows how the trial ended."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from study.storage.trial_folder import End, TrialFolder
from tests.damage import cut, flip, overwrite

STOPPED = End("stopped", 3, 1.5, reason="successive halving at epoch 3")
REPORTS = [{"epoch": epoch, "val_score": epoch / 3} for epoch in (1, 2, 3)]


def test_a_trial_keeps_the_configuration_it_began_with(trial: TrialFolder):
    trial.create({"number": 2})
    assert trial.read_config() == {"number": 1}
    assert trial.trial_id == "search-0001"


def test_a_report_that_a_crash_cut_short_is_left_out_and_written_over(trial: TrialFolder):
    trial.append_report(REPORTS[0])
    with (trial.path / "reports.jsonl").open("a") as file:
        file.write('{"epoch": 2, "val_sc')
    assert trial.read_reports() == REPORTS[:1]
    trial.keep_reports(1)
    trial.append_report(REPORTS[1])
    assert trial.read_reports() == REPORTS[:2]


def test_how_a_trial_had_ended_that_is_reopened_is_known_until_it_ends_again(
    trial: TrialFolder,
):
    trial.write_end(STOPPED)
    for _ in range(2):  # a repair that was killed is done again
        trial.reopen()
        assert (trial.read_end(), trial.read_earlier_end()) == (None, STOPPED)
    trial.write_end(End("finished", 4, 2.0))
    assert trial.read_earlier_end() is None


@pytest.mark.parametrize(
    "damaged, damage",
    [
        *itertools.product(["end.json", "earlier_end.json"], [cut, overwrite]),
        ("end.json", lambda path: flip(path, b"3")),
    ],
)
def test_a_damaged_end_tells_nothing(
    trial: TrialFolder, damaged: str, damage: Callable[[Path], None]
):
    trial.write_end(STOPPED)
    for name in ("end.json", "earlier_end.json"):
        if name == damaged:
            damage(trial.path / name)
        trial.reopen()
    assert trial.read_earlier_end() is None


def test_a_failure_is_no_end_to_come_to_again(trial: TrialFolder):
    trial.write_end(End("failed", 1, 1.0))
    trial.reopen()
    assert trial.read_earlier_end() is None
