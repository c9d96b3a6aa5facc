"""A trial's folder loses no report, and knows how the trial ended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.storage.trial_folder import End, TrialFolder
from tests.damage import cut, flip, overwrite

STOPPED = End("stopped", 3, 1.5, reason="successive halving at epoch 3")
REPORTS = [{"epoch": epoch, "val_score": epoch / 3} for epoch in (1, 2, 3)]


def test_a_report_that_a_crash_cut_short_is_left_out_and_written_over(trial: TrialFolder):
    trial.create({"number": 2})
    assert trial.read_config() == {"number": 1}, "a trial keeps the one it began with"
    trial.append_reports(REPORTS[0])
    with (trial.path / "reports.jsonl").open("a") as file:
        file.write('{"epoch": 2, "val_sc')
    assert trial.read_reports() == REPORTS[:1]
    trial.append_reports(REPORTS[1])
    assert trial.read_reports() == REPORTS[:2]
    with pytest.raises(ValueError, match="JSON"):
        trial.append_reports({"epoch": 3, "val_score": float("nan")})


def test_the_earlier_end_of_a_reopened_trial_is_known_until_it_ends_again(trial: TrialFolder):
    trial.write_end(STOPPED)
    for _ in range(2):  # a repair that was killed is done again
        trial.reopen()
        assert (trial.read_end(), trial.read_earlier_end()) == (None, STOPPED)
    trial.write_end(End("failed", 4, 2.0))
    assert trial.read_earlier_end() is None
    trial.reopen()
    assert trial.read_earlier_end() is None, "a failure is no end to come to again"


@pytest.mark.parametrize(
    "damaged, damage",
    [
        ("end.json", cut),
        ("earlier_end.json", overwrite),
        ("end.json", lambda path: flip(path, b"3")),
    ],
)
def test_a_damaged_end_is_not_believed(
    trial: TrialFolder, damaged: str, damage: Callable[[Path], None]
):
    trial.write_end(STOPPED)
    for name in ("end.json", "earlier_end.json"):
        if name == damaged:
            damage(trial.path / name)
        trial.reopen()
    assert trial.read_earlier_end() is None
