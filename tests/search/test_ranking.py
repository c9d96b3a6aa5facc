"""Finished trials are ranked by their last validation score."""

from study.search.ranking import rank_finished_trials
from tests.search.ended_trials import add
from tests.written_study import Written


def test_a_score_is_the_last_epochs_and_only_finished_trials_count(written: Written):
    add(written, 0.5)
    for status in ("stopped", "failed", None):
        add(written, 0.9, status=status)
    add(written, 0.9, stage="test")
    add(written, 0.6)
    ranked = rank_finished_trials(written.folder)
    assert [(judged.config.number, judged.val_score) for judged in ranked] == [(5, 0.6), (0, 0.5)]


def test_among_equals_fewer_parameters_win_then_the_earlier_trial(written: Written):
    add(written, 0.5)
    add(written, 0.5, trainable=90)
    add(written, 0.5, trainable=90)
    assert [j.config.number for j in rank_finished_trials(written.folder)] == [1, 2, 0]
