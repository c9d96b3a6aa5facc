"""Trials of other methods: they learn, repeat, go on where they stopped, and write their delta."""

from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
import torch

from study.backbones.backbone import Backbone
from study.config.methods import Clap, FullFineTuning, Lora, Method, Projection, TwoStage
from study.config.trial_settings import TrialSettings
from study.method.head import VIEWS
from study.method.lora import apply_dropout
from study.method.staged import StagedClassifier
from study.storage.result_folder import JsonObject
from study.trial.activations import open_table
from study.trial.config_hash import compute_config_hash
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial
from study.trial.study import TrialConfig, TrialData
from study.trial.task_features import cached_views
from study.trial.task_model import TaskModel
from tests.settings import ARCHITECTURE, clipfit_trial
from tests.trial.outcomes import Prepare, outcome, outcomes

FULL = FullFineTuning(lr=0.002)
LORA = Lora(lr=0.05)
DROPPING = LORA.model_copy(update={"dropout": 0.3})
PROJECTION = Projection(lr=0.02)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("study.config.methods.TwoStage.steps_per_shot", 6)


def method_trial(
    method: Method, alpha: float = 1.0, head: str = "text", **more: Any
) -> TrialConfig:
    settings = TrialSettings(subset="none", method=method, alpha=alpha, head=head)
    training: JsonObject = {"batch_size": 8, "optimizer": method.optimizer}
    training["regularizer"] = method.regularizer or "cosine"
    training["weight_decay"] = method.weight_decay
    changes = {"settings": settings, "heads": (head,)}
    return clipfit_trial(training=training, **more).model_copy(update=changes)


@pytest.mark.parametrize(
    "method, setting",
    [(FULL, "class_folds"), (LORA, "augmented"), (PROJECTION, "augmented")],
    ids=["full", "lora", "projection"],
)
def test_a_method_learns_and_every_epoch_is_reported_with_its_delta_if_it_writes_one(
    prepare: Prepare, backbone: Backbone, setting: str, method: Method
):
    data = prepare(setting).search()
    reports = list(run_trial(method_trial(method), data, backbone))
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    for report in reports:
        held = [tuple(delta) for delta in report.deltas]
        assert held == ([method.delta] * len(data.tasks) if method.delta else [])
        assert "val_score" in report.metrics
    assert [reports[0].metrics["method_lr"], reports[1].metrics["method_lr"]] == [1e-5, method.rate]
    first, last = reports[0].metrics, reports[-1].metrics
    assert last["cross_entropy"] < first["cross_entropy"]
    train = data.tasks[0].train
    weight = len(train.classes) / len(train.records) if method is PROJECTION else 0.0
    expected = last["cross_entropy"] + weight * last["distillation"]
    assert last["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "method, setting, more",
    [
        (FULL, "holdout", {}),
        (DROPPING, "augmented", {}),
        pytest.param(
            LORA,
            "class_folds",
            {"alpha": 0.75, "head": "linear"},
            marks=[pytest.mark.long, pytest.mark.ci],
        ),
        (PROJECTION, "folds", {}),
        (PROJECTION, "augmented", {"alpha": 0.75, "head": "linear"}),
        (Clap(), "augmented", {"epochs": 0, "head": "linear"}),
        (TwoStage(), "class_folds", {"epochs": 5, "head": "linear"}),
    ],
    ids=lambda value: getattr(value, "method", None),
)
def test_a_method_goes_on_from_any_epoch_to_the_bit(
    prepare: Prepare, backbone: Backbone, method: Method, setting: str, more: JsonObject
):
    data, config = prepare(setting).search(), method_trial(method, **{"epochs": 3, **more})
    whole = list(run_trial(config, data, backbone))
    assert [outcome(one) for one in whole] == outcomes(run_trial(config, data, backbone))
    for report in whole[:-1]:
        kept = any(".delta." in name for name in report.state)
        assert kept == ("alpha" in more and method is PROJECTION), "where it is used otherwise"
        rest = run_trial(config, data, backbone, (report.epoch, report.state))
        assert outcomes(rest) == [outcome(later) for later in whole[report.epoch :]]


def test_the_hash_covers_the_settings_of_a_method_and_the_version_of_peft(
    holdout: TrialData, monkeypatch: pytest.MonkeyPatch
):
    def hash_of(method: Method) -> str:
        return compute_config_hash(method_trial(method), holdout, ARCHITECTURE)

    full, *of_lora = hash_of(FULL), hash_of(LORA), hash_of(DROPPING)
    assert len({full, *of_lora}) == 3
    monkeypatch.setattr("study.trial.config_hash.version", lambda library: "0")
    assert hash_of(FULL) == full, "the rest is cached"
    assert not {hash_of(LORA), hash_of(DROPPING)} & {*of_lora}


def test_each_epoch_of_each_task_drops_other_inputs(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    drop = Mock(wraps=apply_dropout)
    monkeypatch.setattr("study.trial.task_training.apply_dropout", drop)
    data = prepare("folds").search()
    for seed in (1, 2**31 - 1):
        list(run_trial(method_trial(DROPPING, seed=seed, epochs=2), data, backbone))
    seeds = [call.args[1] for call in drop.call_args_list]
    assert len({*seeds}) == len(seeds) == 2 * 2 * len(data.tasks)


def test_methods_without_an_encoder_pass_it_once_between_them(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    original = StagedClassifier.begin_images
    begin = create_autospec(original, side_effect=original)
    monkeypatch.setattr(StagedClassifier, "begin_images", begin)
    data = prepare("augmented_folds").search()
    for file in data.caches.glob("frozen-*"):
        file.unlink()
    free_memory()
    list(run_trial(clipfit_trial(subset="none", epochs=0), data, backbone))
    list(run_trial(clipfit_trial(subset="none", epochs=0, head="linear"), data, backbone))
    list(run_trial(method_trial(PROJECTION), data, backbone))
    viewed = VIEWS * len(open_table(data.train_images).paths)
    passed = sum(len(call.args[1]) for call in begin.call_args_list)
    assert passed == len(open_table(data.eval_images).paths) + viewed
    free_memory()
    begin.reset_mock()
    list(run_trial(method_trial(PROJECTION.model_copy(update={"lr": 0.1})), data, backbone))
    assert not begin.called, "another process, or another trial, finds them"


def test_the_views_of_a_projection_are_those_of_its_seed(prepare: Prepare, backbone: Backbone):
    data = prepare("augmented").search()
    (task,) = data.tasks
    models = [TaskModel(method_trial(PROJECTION, seed=seed), data, backbone, 0) for seed in (1, 2)]
    first, other = (cached_views(model, task.train.paths, VIEWS) for model in models)
    assert first.shape == (VIEWS, len(task.train.records), 1, 32)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first[0], first[1])
