"""The final model of a study is one training beside the rows of its seeds."""

from collections.abc import Callable
from pathlib import Path

from tests.changed_studies import add_final, board_of, change_json
from tests.not_none import not_none


def test_a_final_training_has_an_interval_over_images_alone(make_study: Callable[..., Path]):
    folder = make_study("mine")
    assert not_none(board_of(folder).final).trial is None, "final.images is shots"
    add_final(folder, "labelled")
    board = board_of(folder)
    final = not_none(board.final)
    assert final.row is board.best
    assert final.images == 60
    test = not_none(final.test)
    assert test.images is not None
    assert (test.n, test.low) == (1, None)
    trial = not_none(final.trial)
    assert all(trial.trial_id not in entry.labels for entry in board.rows)
    change_json(folder / f"trials/{trial.trial_id}/end.json", status="failed")
    assert not_none(board_of(folder).final).trial is None
