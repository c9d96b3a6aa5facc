"""A trial as an iterator: the seam between training and whoever schedules it."""

from itertools import combinations_with_replacement
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from study.backbones.backbone import Backbone
from study.config.methods import Clap, FullFineTuning, Lora, Projection, TwoStage
from study.method.lora import apply_dropout
from study.trial.predictions import mean
from study.trial.run_trial import run_trial
from study.trial.study import TrialConfig, TrialData
from tests.settings import clipfit_trial
from tests.trial.outcomes import (
    Prepare,
    digest,
    last_report,
    method_trial,
    outcome,
    outcomes,
)


@pytest.mark.parametrize(
    "setting, parts",
    [
        ("holdout", ["accuracy"]),
        ("augmented", ["accuracy"]),
        ("folds", ["accuracy"]),
        ("class_folds", ["base", "new", "hmean"]),
        ("base", ["base"]),
    ],
)
def test_every_epoch_is_reported_with_its_score(
    prepare: Prepare, backbone: Backbone, setting: str, parts: list[str]
):
    data = prepare(setting).search()
    before = {name: digest(tensor) for name, tensor in backbone.clip.state_dict().items()}
    reports = list(run_trial(clipfit_trial(), data, backbone))
    assert {name: digest(tensor) for name, tensor in backbone.clip.state_dict().items()} == before
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert [report.done for report in reports] == [False, False, False, True]
    for report in reports:
        assert report.metrics.keys() == {
            *("train_loss", "cross_entropy", "distillation", "bias_lr", "ln_lr"),
            *("images_per_second", "seconds", "val_score", "val_score_text"),
            *(f"val_{part}" for part in parts),
        }
        assert all(0 <= report.metrics[f"val_{part}"] <= 1 for part in parts)
        assert len(report.deltas) == len(data.tasks)
    assert reports[0].metrics["bias_lr"] == 1e-5
    assert reports[1].metrics["bias_lr"] == 0.05
    assert reports[-1].state == {}
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]
    assert reports[-1].metrics["distillation"] > 0


def test_every_setting_of_a_training_changes_what_is_learnt(holdout: TrialData, backbone: Backbone):
    changes: list[dict[str, Any]] = [{}, {"seed": 2}, {"bias_lr": 0.1}, {"distill_weight": 2.0}]
    keys = {"optimizer": "adamw", "momentum": 0.0, "weight_decay": 10.0, "regularizer": "l2_init"}
    changes += [{"training": {"batch_size": 8, key: value}} for key, value in keys.items()]
    deltas = {
        tuple(digest(tensor) for tensor in last_report(holdout, backbone, **c).deltas[0].values())
        for c in changes
    }
    assert len(deltas) == len(changes)


def test_a_result_depends_on_nothing_that_ran_before(holdout: TrialData, backbone: Backbone):
    alone = outcomes(run_trial(clipfit_trial(), holdout, backbone))
    torch.manual_seed(99)
    other = clipfit_trial(subset="bitfit", seed=7, training={"optimizer": "adamw", "batch_size": 4})
    first, second = (run_trial(one, holdout, backbone) for one in (clipfit_trial(), other))
    state = torch.get_rng_state()
    interleaved = []
    for report in first:
        interleaved.append(outcome(report))
        next(second, None)
    assert interleaved == alone
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "setting, config",
    [
        ("holdout", clipfit_trial()),
        ("augmented", clipfit_trial(subset="bitfit + ln")),
        ("class_folds", clipfit_trial(training={"optimizer": "adamw", "batch_size": 8})),
        ("augmented", clipfit_trial(head="linear", alpha=0.5)),
        ("holdout", method_trial(FullFineTuning(lr=0.002), epochs=3)),
        ("augmented", method_trial(Lora(lr=0.05, dropout=0.3), epochs=3)),
        pytest.param(
            *("class_folds", method_trial(Lora(lr=0.05), 0.75, "linear", epochs=3)),
            marks=[pytest.mark.long, pytest.mark.ci],
        ),
        ("folds", method_trial(Projection(lr=0.02), epochs=3)),
        ("augmented", method_trial(Projection(lr=0.02), 0.75, "linear", epochs=3)),
        ("augmented", method_trial(Clap(), head="linear", epochs=0)),
        ("class_folds", method_trial(TwoStage(), head="linear", epochs=5)),
    ],
)
def test_a_trial_repeats_and_goes_on_from_any_epoch_to_the_bit(
    prepare: Prepare,
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    config: TrialConfig,
):
    monkeypatch.setattr("study.config.methods.TwoStage.steps_per_shot", 6)
    data, settings = prepare(setting).search(), config.settings
    whole = list(run_trial(config, data, backbone))
    assert outcomes(run_trial(config, data, backbone)) == [outcome(one) for one in whole]
    for report in whole[:-1]:
        has_delta = any(".delta." in name for name in report.state)
        assert has_delta == (settings.alpha != 1 and settings.writes_delta), "it is used otherwise"
        rest = run_trial(config, data, backbone, (report.epoch, report.state))
        assert outcomes(rest) == [outcome(later) for later in whole[report.epoch :]]


def test_equal_means_over_folds_are_equal_numbers():
    # Of 181 images right in 4 folds of 50 each.
    folds = [rest for rest in combinations_with_replacement(range(40, 51), 4) if sum(rest) == 181]
    assert {mean([right / 50 for right in fold]) for fold in folds} == {0.905}


def test_each_epoch_of_each_task_drops_other_inputs(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    drop = Mock(wraps=apply_dropout)
    monkeypatch.setattr("study.trial.task_training.apply_dropout", drop)
    data = prepare("folds").search()
    for seed in (1, 2, 2**31 - 1):
        dropping = method_trial(Lora(lr=0.05, dropout=0.3), seed=seed, epochs=2)
        list(run_trial(dropping, data, backbone))
    seeds = [call.args[1] for call in drop.call_args_list]
    assert len({*seeds}) == len(seeds) == 3 * 2 * len(data.tasks)
