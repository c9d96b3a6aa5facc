"""What a head and a strength change in a trial, and what they must leave as it is."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.delta import HEAD_CLASSES
from study.protocols import Transfer
from study.storage.result_folder import JsonObject
from study.trial.run_trial import run_trial
from study.trial.study import EpochReport, Prediction, Target, TrialData
from tests.case_tables import from_table
from tests.small_trials import Prepare, last_report, outcome, trial

LINEAR: JsonObject = {"head": "linear"}
BOTH = {"subset": "clipfit + text.ln + vision.bias"}
NOTHING: JsonObject = {"subset": "none", "epochs": 0, "bias_lr": None, "ln_lr": None}


def answers(report: EpochReport, part: str | None = None) -> list[tuple[str, ...]]:
    """The image, its class, and what it is taken for, of one part or of all."""
    return [p[1:5] for p in report.predictions if part in (None, p.part)]


def probabilities(predictions: Iterable[Prediction]) -> Tensor:
    return torch.tensor([p.probability for p in predictions])


def scores(report: EpochReport) -> dict[str, float]:
    return {k: v for k, v in report.metrics.items() if k.startswith(("val_", "test_"))}


def trained(report: EpochReport) -> JsonObject:
    """What a report says of the training, whatever is made of it."""
    return {
        name: value
        for name, value in outcome(report).items()
        if name.startswith(("train_loss", "distillation", "state ")) and ".delta." not in name
    }


def check_same_answers(one: EpochReport, other: EpochReport):
    assert answers(one) == answers(other)
    assert scores(one) == pytest.approx(scores(other), abs=1e-5)
    torch.testing.assert_close(probabilities(one.predictions), probabilities(other.predictions))


def test_a_target_has_the_rows_of_the_classes_that_have_the_same_names(
    prepare: Prepare, backbone: Backbone
):
    data = prepare("holdout").test(1)
    (task,), names = data.tasks, (*data.class_names[1:], data.class_names[0])
    (own,) = task.evaluations
    moved = {label: names.index(data.class_names[label]) for label in own.classes}
    shift = replace(
        own,
        name="shift",
        classes=tuple(moved.values()),
        records=tuple(replace(r, label=moved[r.label]) for r in own.records),
    )
    both = replace(task, evaluations=(own, shift))
    found = []
    for called in (names, ("another", *names[1:])):
        targets = {"shift": Target(called, data.templates, data.eval_images)}
        shifted = replace(data, protocol=Transfer(), tasks=(both,), targets=targets)
        report = last_report(shifted, backbone, stage="test", **NOTHING, **LINEAR)
        found.append(probabilities(p for p in report.predictions if p.part == "shift"))
        here = probabilities(p for p in report.predictions if p.part == own.name)
    torch.testing.assert_close(found[0], here)
    assert not torch.allclose(found[1], here, atol=1e-3), "it has the text of its own name"


@from_table
def test_at_strength_0_with_a_head_of_text_every_prediction_is_zero_shot(
    prepare: Prepare, backbone: Backbone, setting: str, stage: str
):
    preparer = prepare(setting)
    data = preparer.search() if stage == "search" else preparer.test(1)
    zero_shot = last_report(data, backbone, **NOTHING, stage=stage)
    tuned = last_report(data, backbone, **BOTH, stage=stage, strength=0.0)
    check_same_answers(tuned, zero_shot)
    initial = dict(backbone.clip.named_parameters())
    for delta in tuned.deltas:
        assert len(delta) > 10
        assert all(torch.equal(tensor, initial[name]) for name, tensor in delta.items())
    full = last_report(data, backbone, **BOTH, stage=stage)
    assert answers(full) != answers(zero_shot), "there is something to take back"


@pytest.mark.parametrize("setting", ["class_folds", "base"])
def test_new_classes_are_told_apart_as_without_the_head(
    prepare: Prepare, backbone: Backbone, setting: str
):
    data = prepare(setting).test(1)
    head, text = last_report(data, backbone, **LINEAR), last_report(data, backbone)
    # Trained names are further ahead, or less: only that gap depends on the head.
    news = [[p[1:6] for p in one.predictions if p.part == "new"] for one in (head, text)]
    assert news[0] == news[1] != []
    assert answers(head, "base") != answers(text, "base")
    (task,), (delta,) = data.tasks, head.deltas
    assert delta[HEAD_CLASSES].tolist() == list(task.train.classes)


def test_a_trial_is_scored_when_it_may_be_stopped_and_at_its_end_and_trains_alike(
    holdout: TrialData, backbone: Backbone
):
    changes = {**LINEAR, "strength": 0.5}
    often = list(run_trial(trial(**changes), holdout, backbone))
    seldom = list(run_trial(trial(**changes), replace(holdout, scored_at=(2,)), backbone))
    plain = list(run_trial(trial(), holdout, backbone))
    assert ["val_score" in r.metrics for r in seldom] == [False, True, False, True]
    assert [bool(r.predictions) for r in seldom] == [False, True, False, True]
    for at in (1, 3):
        assert outcome(often[at]) == outcome(seldom[at])
    for one, other in zip(often, plain, strict=True):
        assert trained(one) == trained(other)
