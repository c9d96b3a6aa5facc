"""Finished trials are ranked by their last validation score."""

from pathlib import Path
from typing import Any

import pytest

from study.selection.ranking import rank_finished_trials
from study.storage.trial_folder import End, Status
from tests.written_study import EPOCHS, Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


def add(
    written: Written, score: float, *, status: Status | None = "finished", **given: Any
) -> None:
    """Write a trial that ended, with a last report."""
    config = written.trial(len(list(written.folder.trials())), **given)
    trial = written.folder.trial(config.trial_id)
    trial.append_report({"epoch": EPOCHS - 1, "val_score": 1.0})
    if status == "finished":
        trial.append_report({"epoch": EPOCHS, "val_score": score})
    if status is not None:
        trial.write_end(End(status, EPOCHS, 1.0, reason="boom"))


def test_a_score_is_the_last_epochs_and_only_finished_trials_count(written: Written) -> None:
    add(written, 0.5)
    for status in ("stopped", "failed", None):
        add(written, 0.9, status=status)
    add(written, 0.9, stage="confirm")
    add(written, 0.6)
    ranked = rank_finished_trials(written.folder)
    assert [(judged.config.number, judged.val_score) for judged in ranked] == [(5, 0.6), (0, 0.5)]


def test_among_equals_fewer_parameters_win_then_the_earlier_trial(written: Written) -> None:
    add(written, 0.5)
    add(written, 0.5, trainable=90)
    add(written, 0.5, trainable=90)
    assert [j.config.number for j in rank_finished_trials(written.folder)] == [1, 2, 0]


def test_equal_trainings_have_equal_keys_whatever_is_done_with_them(written: Written) -> None:
    add(written, 0.5, ln_lr=0.1)
    add(written, 0.5, ln_lr=0.1, head="linear", strength=0.5)
    add(written, 0.5, ln_lr=0.2)
    one, other, another = (judged.training for judged in rank_finished_trials(written.folder))
    assert one == other != another
