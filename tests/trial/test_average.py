"""The trial of an average evaluates the mean of what its members trained."""

import pytest

from study.backbones.backbone import Backbone
from study.method.averaging import Member
from study.method.delta import without_head
from study.trial import TrialData
from study.trial.run_trial import run_average
from tests.small_trials import Prepare, last_report, trial

BOTH = {"subset": "text.mlp.fc2.bias + vision.ln1 + vision.ln2", "epochs": 0}
MEMBERS = (
    {"subset": "text.mlp.fc2.bias + vision.ln1", "strength": 0.5},
    {"subset": "vision.ln1 + vision.ln2", "ln_lr": 0.1, "head": "linear"},
)


@pytest.fixture(scope="module")
def folds(prepare: Prepare) -> TrialData:
    return prepare("folds").search()


def members_of(data: TrialData, backbone: Backbone) -> list[list[Member]]:
    """Train the members; return them for each task."""
    reports = [last_report(data, backbone, **settings) for settings in MEMBERS]
    strengths = (0.5, 1.0)
    by_task = zip(*(report.deltas for report in reports), strict=True)
    return [
        [Member(without_head(d), s) for d, s in zip(deltas, strengths, strict=True)]
        for deltas in by_task
    ]


@pytest.mark.parametrize("head", ["text", "linear"])
def test_each_fold_has_the_average_of_its_own_models(
    folds: TrialData, backbone: Backbone, head: str
):
    members = members_of(folds, backbone)
    config = trial(**BOTH, head=head, strength=0.5)
    (report,) = run_average(config, folds, backbone, members)
    assert report.done
    assert len(report.folds) == len(folds.tasks) > 1
    assert ("head_lr" in report.metrics) == (head == "linear")
    assert all(prediction.best_logit is not None for prediction in report.predictions)
    for delta, (one, other) in zip(report.deltas, members, strict=True):
        assert without_head(delta).keys() == one.tensors.keys() | other.tensors.keys()


def test_the_average_of_one_is_that_one(folds: TrialData, backbone: Backbone):
    alone = last_report(folds, backbone)
    members = [[Member(delta, 1.0)] for delta in alone.deltas]
    (report,) = run_average(trial(epochs=0), folds, backbone, members)
    assert report.metrics["val_score"] == pytest.approx(alone.metrics["val_score"])
    labels = [prediction.predicted for prediction in alone.predictions]
    assert [prediction.predicted for prediction in report.predictions] == labels
