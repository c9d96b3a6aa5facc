"""The model of one task: how it is trained, used with a head and an α, and judged."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from statistics import mean

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.trial_settings import HEADS
from study.method.delta import HEAD_CLASSES, HEAD_ROWS
from study.method.training import Schedule
from study.protocols import Transfer, hmean
from study.storage.result_folder import JsonObject
from study.trial.run_trial import run_trial
from study.trial.study import EpochReport, Prediction, Target, TrialData
from study.trial.task_model import TaskModel
from study.trial.task_training import TaskTraining
from tests.settings import clipfit_trial
from tests.trial.outcomes import Prepare, last_report, outcome

LINEAR: JsonObject = {"head": "linear"}
BOTH = {"subset": "clipfit + text.ln + vision.bias"}
NOTHING: JsonObject = {"subset": "none", "epochs": 0, "bias_lr": None, "ln_lr": None}


def answers(report: EpochReport, part: str | None = None) -> list[tuple[str, ...]]:
    """The image, its class, and what it is taken for, of one part or of all."""
    return [p[1:5] for p in report.predictions if part in (None, p.part)]


def probabilities(predictions: Iterable[Prediction]) -> Tensor:
    return torch.tensor([p.probability for p in predictions])


@pytest.mark.parametrize(
    "batch_size, epoch_images, used",
    [(8, None, 40), (32, None, 32), (64, None, 40), (8, 20, 16), (8, 3, 3)],
)
def test_an_incomplete_batch_is_dropped_unless_it_is_the_only_one(
    holdout: TrialData, backbone: Backbone, batch_size: int, epoch_images: int | None, used: int
):
    config = clipfit_trial(training={"batch_size": batch_size})
    data = replace(holdout, epoch_images=epoch_images)
    training = TaskTraining(TaskModel(config, data, backbone, 0))
    with training.batches(Schedule(1), 0) as batches:
        assert sum(len(labels) for _, labels in batches) == training.images_per_epoch == used


def test_a_balance_acts_on_encoders_and_head(holdout: TrialData, backbone: Backbone):
    (task,) = holdout.tasks
    rare, *others = task.train.records
    fewer = [record for record in others if record.label != rare.label]
    unequal = replace(task, train=replace(task.train, records=(rare, *fewer)))
    data = replace(holdout, tasks=(unequal,))
    losses, rows = [], []
    for way in ("none", "weights", "logit_adjusted", "auto"):
        training = {"batch_size": 8, "balance": way}
        trained = last_report(data, backbone, training=training, epochs=1)
        losses.append(trained.metrics["train_loss"])
        # Of an untouched encoder, so that the heads differ by their own training.
        untouched = last_report(data, backbone, training=training, **NOTHING, **LINEAR)
        rows.append(untouched.deltas[0][HEAD_ROWS].sum().item())
    for values in (losses, rows):
        *of_ways, of_auto = values
        assert len({*of_ways}) == 3
        assert of_auto == of_ways[-1], "these images are unequal, whatever the study's others are"


def test_a_head_is_trained_on_interpolated_encoders(holdout: TrialData, backbone: Backbone):
    none, half, whole = (
        last_report(holdout, backbone, **LINEAR, **BOTH, alpha=alpha).deltas[0]
        for alpha in (0.0, 0.5, 1.0)
    )
    initial = dict(backbone.clip.named_parameters())
    assert whole.keys() == half.keys()
    for name in initial.keys() & whole.keys():
        assert torch.equal(half[name], initial[name].lerp(whole[name], 0.5))
    untouched = last_report(holdout, backbone, **NOTHING, **LINEAR).deltas[0][HEAD_ROWS]
    torch.testing.assert_close(none[HEAD_ROWS], untouched, atol=1e-3, rtol=0)
    assert all((one[HEAD_ROWS] - untouched).abs().max() > 0.01 for one in (half, whole))


def test_each_head_scores_as_it_would_alone(holdout: TrialData, backbone: Backbone):
    both = last_report(replace(holdout, heads=HEADS), backbone, head=None)
    assert both.head == max(both.scores, key=lambda name: both.scores[name]["score"])
    assert both.metrics["val_score"] == max(one["score"] for one in both.scores.values())
    for head in ("text", "linear"):
        alone = last_report(holdout, backbone, head=head)
        assert alone.scores == {head: both.scores[head]}
        assert both.metrics[f"val_score_{head}"] == alone.metrics["val_score"]
        given = last_report(replace(holdout, heads=HEADS), backbone, head=head)
        assert given.head == head, "whichever is better"
        assert given.metrics["val_score"] == given.scores[head]["score"]
        assert alone.predictions == [one for one in both.predictions if one.head == head]
        if head == both.head:
            assert outcome(alone)["delta 0 head.rows"] == outcome(both)["delta 0 head.rows"]


def test_scoring_less_often_trains_alike(holdout: TrialData, backbone: Backbone):
    config = clipfit_trial(**LINEAR, alpha=0.5)
    often = list(run_trial(config, holdout, backbone))
    seldom = list(run_trial(config, replace(holdout, scored_at=(2,)), backbone))
    assert ["val_score" in r.metrics for r in seldom] == [False, True, False, True]
    assert [bool(r.predictions) for r in seldom] == [False, True, False, True]
    for at in (1, 3):
        assert outcome(often[at]) == outcome(seldom[at])


@pytest.mark.parametrize("setting", ["holdout", "folds"])
def test_each_validation_image_is_predicted_once(
    prepare: Prepare, backbone: Backbone, setting: str
):
    data = prepare(setting).search()
    report = last_report(data, backbone, epochs=1)
    evaluated = []
    for fold, task in enumerate(data.tasks):
        for part in task.evaluations:
            for record in part.records:
                label = data.class_names[record.label]
                evaluated.append((part.name, record.path, label, fold))
    assert [(*p[1:4], p.fold) for p in report.predictions] == evaluated
    assert all(1 / len(data.class_names) < p.probability <= 1 for p in report.predictions)
    used = [p for p in report.predictions if p.head == report.head]
    right = sum(p.label == p.predicted for p in used) / len(used)
    assert right == pytest.approx(report.metrics["val_score"])
    for p in report.predictions:
        assert (p.true_probability == p.probability) == (p.label == p.predicted)


def test_test_images_are_evaluated_once_and_classes_of_one_name_apart(
    prepare: Prepare, backbone: Backbone
):
    data = prepare("holdout").test(1)
    first, _, *others = data.class_names
    data = replace(data, class_names=(first, first, *others))
    reports = list(run_trial(clipfit_trial(stage="test"), data, backbone))
    assert [any("test" in name for name in r.metrics) for r in reports] == [0, 0, 0, 1]
    assert not any("val" in name for r in reports for name in r.metrics)
    *before, last = (r.predictions for r in reports)
    assert not any(before)
    assert len(last) == len(data.tasks[0].evaluations[0].records)
    right = [one.label == one.predicted for one in last]
    assert sum(right) / len(right) == pytest.approx(reports[-1].metrics["test_accuracy"])
    labels = {one.label for one in last}
    assert len(labels) == len(data.class_names)
    assert first in labels


def test_a_test_also_has_the_mean_recall_of_the_classes_of_each_part(
    prepare: Prepare, backbone: Backbone
):
    data = prepare("class_folds").test(1)
    (task,) = data.tasks
    # The first class has one image, and all others keep theirs.
    parts = [replace(part, records=part.records[5:]) for part in task.evaluations]
    unequal = replace(data, tasks=(replace(task, evaluations=tuple(parts)),))
    report = last_report(unequal, backbone)
    of_part = []
    for part in ("base", "new"):
        hits = defaultdict(list)
        for one in report.predictions:
            if one.part == part:
                hits[one.label].append(one.label == one.predicted)
        assert len({*map(len, hits.values())}) > 1
        of_part.append(mean(map(mean, hits.values())))
    assert report.metrics["test_balanced"] == pytest.approx(hmean(*of_part))
    assert report.metrics["test_balanced"] != report.metrics["test_score"]


def test_new_classes_are_scored_as_without_the_head(prepare: Prepare, backbone: Backbone):
    data = prepare("class_folds").test(1)
    head, text = last_report(data, backbone, **LINEAR), last_report(data, backbone)
    for report in (head, text):
        base, new = report.metrics["test_base"], report.metrics["test_new"]
        assert report.metrics["test_score"] == report.metrics["test_hmean"] == hmean(base, new)
        for part, names in (("base", data.class_names[:18]), ("new", data.class_names[18:])):
            found = [p for p in report.predictions if p.part == part]
            assert {p.label for p in found} == set(names) >= {p.predicted for p in found}
    # Trained names are further ahead, or less: only that gap depends on the head.
    news = [[p[1:6] for p in one.predictions if p.part == "new"] for one in (head, text)]
    assert news[0] == news[1] != []
    assert answers(head, "base") != answers(text, "base")
    (task,), (delta,) = data.tasks, head.deltas
    assert delta[HEAD_CLASSES].tolist() == list(task.train.classes)


def test_a_target_has_the_rows_of_equal_names(prepare: Prepare, backbone: Backbone):
    data = prepare("holdout").test(1)
    (task,), names = data.tasks, (*data.class_names[1:], data.class_names[0])
    (own,) = task.evaluations
    moved = {label: names.index(data.class_names[label]) for label in own.classes}
    records = [replace(r, label=moved[r.label], group=f"of {r.label}") for r in own.records]
    shift = replace(own, name="shift", classes=tuple(moved.values()), records=tuple(records))
    both = replace(task, evaluations=(own, shift))
    found = []
    for called in (names, ("another", *names[1:])):
        targets = {"shift": Target(called, data.templates, data.eval_images)}
        shifted = replace(data, protocol=Transfer(), tasks=(both,), targets=targets)
        report = last_report(shifted, backbone, stage="test", **NOTHING, **LINEAR)
        here = probabilities(p for p in report.predictions if p.part == own.name)
        there = [p for p in report.predictions if p.part == shift.name]
        assert [p.group for p in there] == [record.group for record in records]
        found.append(probabilities(there))
    torch.testing.assert_close(found[0], here)
    assert not torch.allclose(found[1], here, atol=1e-3), "it has the text of its own name"
