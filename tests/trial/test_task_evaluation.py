"""What the models of a trial are judged on, image by image."""

import pytest

from study.backbones.backbone import Backbone
from study.protocols import hmean
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from tests.small_trials import Prepare, trial


def test_every_validation_image_is_predicted_once(
    holdout: TrialData, prepare: Prepare, backbone: Backbone
):
    for data in (holdout, prepare("folds").search()):
        (report,) = run_trial(trial(epochs=1), data, backbone)
        evaluated = [
            (part.name, record.path, data.class_names[record.label])
            for task in data.tasks
            for part in task.evaluations
            for record in part.records
        ]
        assert [p[1:4] for p in report.predictions] == evaluated
        assert all(1 / len(data.class_names) < p.probability <= 1 for p in report.predictions)
        if len(data.tasks) == 1:
            right = sum(p.label == p.predicted for p in report.predictions) / len(evaluated)
            assert right == pytest.approx(report.metrics["val_score"])


def test_the_test_split_is_evaluated_after_the_last_epoch_alone(
    prepare: Prepare, backbone: Backbone
):
    data = prepare("holdout").test(1)
    reports = list(run_trial(trial(stage="test"), data, backbone))
    assert [any("test" in name for name in r.metrics) for r in reports] == [0, 0, 0, 1]
    assert not any("val" in name for r in reports for name in r.metrics)
    assert [bool(r.predictions) for r in reports] == [0, 0, 0, 1]
    assert len(reports[-1].predictions) == len(data.tasks[0].evaluations[0].records)


def test_base_and_new_are_scored_apart_on_test(prepare: Prepare, backbone: Backbone):
    data = prepare("class_folds").test(1)
    (report,) = run_trial(trial(epochs=1), data, backbone)
    base, new = report.metrics["test_base"], report.metrics["test_new"]
    assert report.metrics["test_score"] == report.metrics["test_hmean"] == hmean(base, new)
    for part, names in (("base", data.class_names[:18]), ("new", data.class_names[18:])):
        found = [p for p in report.predictions if p.part == part]
        assert {p.label for p in found} == set(names) >= {p.predicted for p in found}
