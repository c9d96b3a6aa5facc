"""What a head and a strength change in a trial, and what they must leave as it is."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.delta import HEAD_CLASSES, without_head
from study.protocols import Transfer
from study.trial import EpochReport, TrialData
from study.trial.run_trial import run_trial
from study.trial.study import Prediction, Target
from tests.small_trials import Prepare, digest, trial

LINEAR: dict[str, Any] = {"head": "linear", "head_lr": 0.01, "head_steps": 30}
BOTH = {"subset": "clipfit + text.ln + vision.bias"}
NOTHING: dict[str, Any] = {"subset": "none", "epochs": 0, "bias_lr": None, "ln_lr": None}


def last(data: TrialData, backbone: Backbone, **changes: Any) -> EpochReport:
    *_, report = run_trial(trial(**changes), data, backbone)
    return report


def answers(report: EpochReport, part: str | None = None) -> list[tuple[str, ...]]:
    """The image, its class, and what it is taken for, of one part or of all."""
    return [p[:4] for p in report.predictions if part in (None, p.part)]


def probabilities(predictions: Iterable[Prediction]) -> Tensor:
    return torch.tensor([p.probability for p in predictions])


def scores(report: EpochReport) -> dict[str, float]:
    return {k: v for k, v in report.metrics.items() if k.startswith(("val_", "test_"))}


def test_a_target_has_the_rows_of_the_classes_that_have_the_same_names(
    prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare("holdout").confirm(1)
    (task,), names = data.tasks, (*data.class_names[1:], data.class_names[0])
    (own,) = task.evaluations
    moved = {label: names.index(data.class_names[label]) for label in own.classes}
    shift = replace(
        own,
        name="shift",
        classes=tuple(moved[label] for label in own.classes),
        records=tuple(replace(r, label=moved[r.label]) for r in own.records),
    )
    found = {}
    for called in (names, ("another", *names[1:])):
        target = Target(called, data.templates, data.eval_images)
        both = replace(
            data,
            protocol=Transfer(),
            tasks=(replace(task, evaluations=(own, shift)),),
            targets={"shift": target},
        )
        report = last(both, backbone, stage="confirm", **NOTHING, **LINEAR)
        found[called] = probabilities(p for p in report.predictions if p.part == "shift")
        here = probabilities(p for p in report.predictions if p.part == own.name)
    torch.testing.assert_close(found[names], here)
    assert not torch.allclose(found[called], here, atol=1e-3), "it has the text of its own name"


@pytest.mark.parametrize("setting", ["holdout", "augmented", "class_folds", "base"])
@pytest.mark.parametrize("stage", ["search", "confirm"])
def test_at_strength_0_with_a_head_of_text_every_prediction_is_zero_shot(
    prepare: Prepare, backbone: Backbone, setting: str, stage: str
) -> None:
    preparer = prepare(setting)
    data = preparer.search() if stage == "search" else preparer.confirm(1)
    tuned = last(data, backbone, **BOTH, stage=stage, strength=0.0)
    zero_shot = last(data, backbone, **NOTHING, stage=stage)
    assert answers(tuned) == answers(zero_shot)
    assert scores(tuned) == pytest.approx(scores(zero_shot), abs=1e-5)
    torch.testing.assert_close(
        probabilities(tuned.predictions), probabilities(zero_shot.predictions)
    )
    initial = dict(backbone.clip.named_parameters())
    for delta in tuned.deltas:
        assert len(delta) > 10
        assert all(torch.equal(tensor, initial[name]) for name, tensor in delta.items())
    full = last(data, backbone, **BOTH, stage=stage)
    assert answers(full) != answers(zero_shot), "there is something to take back"


@pytest.mark.parametrize("setting", ["augmented", "class_folds"])
def test_neither_changes_how_the_encoders_are_trained(
    prepare: Prepare, backbone: Backbone, setting: str
) -> None:
    data = prepare(setting).search()
    own = ("train_loss", "cross_entropy", "distillation")
    kinds: tuple[dict[str, Any], ...] = (
        {},
        LINEAR,
        {"head": "linear"},
        {"strength": 0.5},
        {**LINEAR, "strength": 0.5},
    )
    expected: list[Any] = []
    for changes in kinds:
        reports = list(run_trial(trial(**changes), data, backbone))
        trained = [
            (
                {name: report.metrics[name] for name in own},
                {k: digest(t) for k, t in report.state.items() if ".delta." not in k},
            )
            for report in reports
        ]
        expected = expected or trained
        assert trained == expected, changes
        if "strength" not in changes:
            deltas = [
                {k: digest(t) for k, t in without_head(d).items()} for d in reports[-1].deltas
            ]
            plain = last(data, backbone).deltas
            assert deltas == [{k: digest(t) for k, t in d.items()} for d in plain]


@pytest.mark.parametrize("setting", ["holdout", "augmented", "class_folds"])
def test_a_head_of_no_steps_answers_as_the_text(
    prepare: Prepare, backbone: Backbone, setting: str
) -> None:
    data = prepare(setting).search()
    head, text = (last(data, backbone, **changes) for changes in ({**LINEAR, "head_steps": 0}, {}))
    assert answers(head) == answers(text)
    assert scores(head) == pytest.approx(scores(text), abs=1e-5)
    torch.testing.assert_close(probabilities(head.predictions), probabilities(text.predictions))


@pytest.mark.parametrize("changes", [{}, NOTHING], ids=["tuned", "untouched"])
def test_new_classes_are_told_apart_as_without_the_head(
    prepare: Prepare, backbone: Backbone, changes: dict[str, Any]
) -> None:
    for data in (prepare(setting).confirm(1) for setting in ("class_folds", "base")):
        head = last(data, backbone, **changes, **LINEAR)
        text = last(data, backbone, **changes)
        # Trained names are further ahead, or less: only that gap depends on the head.
        news = [[p[:-1] for p in one.predictions if p.part == "new"] for one in (head, text)]
        assert news[0] == news[1] != []
        assert answers(head, "base") != answers(text, "base")
        for task, delta in zip(data.tasks, head.deltas, strict=True):
            assert delta[HEAD_CLASSES].tolist() == list(task.train.classes)


def test_a_trial_is_scored_when_it_may_be_stopped_and_at_its_end(
    holdout: TrialData, backbone: Backbone
) -> None:
    often, seldom = (
        list(run_trial(trial(**LINEAR, scored_at=epochs), holdout, backbone))
        for epochs in (None, (2,))
    )
    assert ["val_score" in r.metrics for r in seldom] == [False, True, False, True]
    assert [bool(r.predictions) for r in seldom] == [False, True, False, True]
    for one, other in zip(often, seldom, strict=True):
        if "val_score" in other.metrics:
            assert scores(one) == scores(other)
            assert [digest(t) for d in one.deltas for t in d.values()] == [
                digest(t) for d in other.deltas for t in d.values()
            ]
