"""Trials of other methods: they learn, and pass the encoder no more often than they must."""

from unittest.mock import Mock, create_autospec

import pytest

from study.backbones.backbone import Backbone
from study.config.methods import FullFineTuning, Lora, Method, Projection
from study.method.head import VIEWS
from study.method.lora import apply_dropout
from study.method.staged import StagedClassifier
from study.trial.activations import open_table
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial
from tests.settings import clipfit_trial
from tests.trial.outcomes import Prepare, method_trial

FULL = FullFineTuning(lr=0.002)
LORA = Lora(lr=0.05)
DROPPING = LORA.model_copy(update={"dropout": 0.3})
PROJECTION = Projection(lr=0.02)


@pytest.mark.parametrize(
    "method, setting",
    [(FULL, "class_folds"), (LORA, "augmented"), (PROJECTION, "augmented")],
    ids=["full", "lora", "projection"],
)
def test_a_method_learns_and_reports_its_delta(
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


def test_each_epoch_of_each_task_drops_other_inputs(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    drop = Mock(wraps=apply_dropout)
    monkeypatch.setattr("study.trial.task_training.apply_dropout", drop)
    data = prepare("folds").search()
    for seed in (1, 2, 2**31 - 1):
        list(run_trial(method_trial(DROPPING, seed=seed, epochs=2), data, backbone))
    seeds = [call.args[1] for call in drop.call_args_list]
    assert len({*seeds}) == len(seeds) == 3 * 2 * len(data.tasks)


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
