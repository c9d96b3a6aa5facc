"""What models come to: their scores, and trained against other names.

Where names compete, what base_to_new says beside its score is what generalized is scored by.
"""

from dataclasses import replace

import pytest

from study.backbones.backbone import Backbone
from study.protocols import BaseToNew, FewShot, Generalized, hmean
from study.trial.evaluation import ALL_CLASSES, joint_scores
from study.trial.study import TrialData
from tests.small_trials import Prepare, last_report, trial_data


@pytest.fixture(scope="module")
def data(prepare: Prepare) -> tuple[TrialData, TrialData]:
    """The search and the test of base_to_new."""
    preparer = prepare("class_folds")
    return preparer.search(), preparer.test(1)


def as_generalized(data: TrialData) -> TrialData:
    """Let the protocol generalized lay out and score the same images."""
    classes = tuple(sorted({c for task in data.tasks for p in task.evaluations for c in p.classes}))
    tasks = tuple(
        replace(task, evaluations=tuple(replace(p, classes=classes) for p in task.evaluations))
        for task in data.tasks
    )
    return replace(data, protocol=Generalized(), tasks=tasks)


@pytest.mark.parametrize(
    "finish",
    [{"strength": 0.5}, {"head": "linear"}],
    ids=["text", "linear"],
)
def test_on_test_the_one_scores_beside_what_the_other_is_scored_by(
    data: tuple[TrialData, TrialData], backbone: Backbone, finish: dict[str, object]
):
    changes = {"stage": "test", "epochs": 2, **finish}
    beside = last_report(data[1], backbone, **changes).metrics
    own = last_report(as_generalized(data[1]), backbone, **changes).metrics
    assert beside["test_generalized"] == pytest.approx(own["test_score"], abs=1e-11)
    assert 0 < own["test_score"] < beside["test_score"]
    assert "test_generalized" not in own


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
