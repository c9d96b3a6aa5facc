"""What the models of a trial learn from, batch by batch."""

from dataclasses import replace

import pytest
import torch

from study.backbones.backbone import Backbone
from study.method.delta import HEAD_ROWS
from study.storage.result_folder import JsonObject
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from tests.case_tables import from_table
from tests.small_trials import last_report, trial


@from_table
def test_one_encoder_alone_can_be_tuned(
    holdout: TrialData, backbone: Backbone, subset: str, rates: dict[str, None]
):
    reports = list(run_trial(trial(subset=subset, **rates), holdout, backbone))
    tower = subset.partition(".")[0]
    (delta,) = reports[-1].deltas
    assert delta
    assert all(name.startswith(f"{tower}_model.") for name in delta)
    moved = reports[-1].metrics["distillation"]
    assert moved > 1e-7 if tower == "text" else moved == pytest.approx(0, abs=1e-6)


@from_table
def test_every_key_of_the_recipe_changes_what_is_learnt(
    holdout: TrialData, backbone: Backbone, key: JsonObject
):
    ends = []
    for training in ({}, key):
        *_, last = run_trial(trial(training=training), holdout, backbone)
        (delta,) = last.deltas
        ends.append(torch.cat([tensor.flatten() for tensor in delta.values()]))
    assert not torch.equal(*ends)


def test_unequal_classes_are_made_up_for_by_the_encoders_and_by_the_head(
    holdout: TrialData, backbone: Backbone
):
    (task,) = holdout.tasks
    rare, *others = task.train.records
    fewer = [record for record in others if record.label != rare.label]
    unequal = replace(task, train=replace(task.train, records=(rare, *fewer)))
    data = replace(holdout, tasks=(unequal,))
    reports = []
    for way in ("none", "weights", "logit_adjusted", "auto"):
        training = {"batch_size": 8, "balance": way}
        reports.append(last_report(data, backbone, training=training, epochs=1))
        # Of an untouched encoder, so that the heads differ by their own training.
        linear = {"head": "linear", "subset": "none", "bias_lr": None, "ln_lr": None, "epochs": 0}
        reports.append(last_report(data, backbone, training=training, **linear))
    losses = [report.metrics["train_loss"] for report in reports[::2]]
    rows = [report.deltas[0][HEAD_ROWS].sum().item() for report in reports[1::2]]
    for values in (losses, rows):
        *of_ways, of_auto = values
        assert len({*of_ways}) == 3
        assert of_auto == of_ways[-1], "these images are unequal, whatever the study's others are"
