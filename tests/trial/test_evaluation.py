"""What models come to: their scores, and trained against other names.

Where names compete, what base_to_new says beside its score is what generalized is scored by.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch

from study.backbones.backbone import Backbone
from study.data.records import Record
from study.data.tasks import Part
from study.protocols import Generalized, hmean
from study.trial import EpochReport, TrialData
from study.trial.evaluation import Evaluation, fold_scores, trial_scores
from study.trial.run_trial import run_trial
from tests.small_trials import Prepare, trial


@pytest.fixture(scope="module")
def data(prepare: Prepare) -> tuple[TrialData, TrialData]:
    """The search and the test of base_to_new."""
    preparer = prepare("class_folds")
    return preparer.search(), preparer.confirm(1)


def as_generalized(data: TrialData) -> TrialData:
    """Let the protocol generalized lay out and score the same images."""
    classes = tuple(sorted({c for task in data.tasks for p in task.evaluations for c in p.classes}))
    tasks = tuple(
        replace(task, evaluations=tuple(replace(p, classes=classes) for p in task.evaluations))
        for task in data.tasks
    )
    return replace(data, protocol=Generalized(), tasks=tasks)


def last(data: TrialData, backbone: Backbone, **changes: object) -> EpochReport:
    return [*run_trial(trial(**changes), data, backbone)][-1]


FINISHES: tuple[dict[str, Any], ...] = (
    {},
    {"strength": 0.5},
    {"head": "linear", "head_lr": 0.01, "head_steps": 5},
)


@pytest.mark.parametrize("finish", FINISHES, ids=("text", "strength", "linear"))
def test_on_test_the_one_scores_beside_what_the_other_is_scored_by(
    data: tuple[TrialData, TrialData], backbone: Backbone, finish: dict[str, object]
) -> None:
    beside = last(data[1], backbone, stage="confirm", epochs=2, **finish).metrics
    own = last(as_generalized(data[1]), backbone, stage="confirm", epochs=2, **finish).metrics
    assert beside["test_generalized"] == pytest.approx(own["test_score"], abs=1e-11)
    assert beside["test_ausuc"] == own["test_ausuc"]
    assert 0 < own["test_score"] < beside["test_score"]
    assert not {"test_calibration", "test_calibrated", "test_generalized"} & own.keys()


def test_a_report_of_test_scores_is_that_of_its_predictions(
    data: tuple[TrialData, TrialData], backbone: Backbone
) -> None:
    report = last(as_generalized(data[1]), backbone, stage="confirm", epochs=2)
    accuracies = []
    for part, names in (("base", data[1].class_names[:18]), ("new", data[1].class_names[18:])):
        found = [p for p in report.predictions if p.part == part]
        assert {p.label for p in found} == set(names)
        assert {p.predicted for p in found} - set(names), "no name of the other half was given"
        of_class = [[p.label == p.predicted for p in found if p.label == name] for name in names]
        accuracies.append(sum(sum(right) / len(right) for right in of_class) / len(names))
        assert report.metrics[f"test_{part}"] == pytest.approx(accuracies[-1], abs=1e-11)
    assert report.metrics["test_score"] == pytest.approx(hmean(*accuracies), abs=1e-11)


def test_on_folds_of_classes_the_best_calibration_is_found(
    data: tuple[TrialData, TrialData], backbone: Backbone
) -> None:
    beside = last(data[0], backbone, epochs=1).metrics
    own = last(as_generalized(data[0]), backbone, epochs=1).metrics
    assert beside["val_generalized"] == pytest.approx(own["val_score"], abs=1e-11)
    assert own["val_calibrated"] > own["val_score"]
    calibration = own["val_calibration"]
    stacked = last(as_generalized(data[0]), backbone, epochs=1, calibration=calibration).metrics
    assert stacked["val_score"] == pytest.approx(own["val_calibrated"], abs=1e-11)
    assert stacked["val_ausuc"] == own["val_ausuc"]


def test_the_score_of_each_fold_is_that_of_its_model_and_one_task_is_no_fold(
    prepare: Prepare,
) -> None:
    data = prepare("folds").search()
    part = Part("accuracy", tuple(Record(f"{n}.png", 0) for n in range(2)), (0, 1))
    folds = []
    for predicted in ([0, 1], [0, 0]):
        parts = [(part, torch.tensor(predicted), torch.ones(2))]
        folds.append(Evaluation(None, None, frozenset({0, 1}), parts))
    assert trial_scores(folds, data) == {"accuracy": 0.75, "score": 0.75}
    assert fold_scores(folds, data) == (0.5, 1.0)
    assert fold_scores(folds[:1], data) == ()
