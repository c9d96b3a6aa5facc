"""What models come to: their scores over tasks, parts and classes."""

import pytest

from study.protocols import BaseToNew, FewShot, hmean
from study.trial.evaluation import ALL_CLASSES, joint_scores
from tests.small_trials import trial_data


def test_parts_are_averaged_over_tasks_before_the_harmonic_mean():
    data = trial_data(protocol=BaseToNew())
    tasks = [(1.0, 0.1), (0.2, 0.7)]
    named = [{("base", ALL_CLASSES): base, ("new", ALL_CLASSES): new} for base, new in tasks]
    scores = joint_scores(named, data)
    assert scores["score"] == scores["hmean"] == pytest.approx(hmean(0.6, 0.4))


def test_a_class_that_few_folds_hold_counts_as_much_as_others():
    rare, common = ("accuracy", 0), ("accuracy", 1)
    folds = [{rare: 0.0, common: 1.0}, {rare: 0.0, common: 1.0}, {common: 1.0}, {common: 1.0}]
    assert joint_scores(folds, trial_data(protocol=FewShot().balanced()))["score"] == 0.5
