"""The refit of a study is one training beside the rows of its seeds."""

from collections.abc import Callable
from pathlib import Path

from study.results.refit import refit_of
from tests.changed_studies import board_of, change_json
from tests.report.said_cases import add_refit


def test_a_refit_has_an_interval_over_images_alone(make_study: Callable[..., Path]):
    folder = make_study("mine")
    assert refit_of(board_of(folder)) is None
    add_refit(folder, "labelled")
    board = board_of(folder)
    refit = refit_of(board)
    assert refit is not None
    assert refit.images == 60
    assert refit.test is not None
    assert refit.test.images is not None
    assert (refit.test.n, refit.test.low) == (1, None)
    assert all(refit.trial.trial_id not in entry.labels for entry in board.entries)
    change_json(folder / f"trials/{refit.trial.trial_id}/end.json", status="failed")
    assert refit_of(board_of(folder)) is None
