"""Trials of other methods: they learn, and pass the encoder no more often than they must."""

from unittest.mock import Mock

import pytest

from study.backbones.backbone import Backbone
from study.config.methods import Lora
from study.method.lora import apply_dropout
from study.trial.run_trial import run_trial
from tests.trial.outcomes import Prepare, method_trial

LORA = Lora(lr=0.05)
DROPPING = LORA.model_copy(update={"dropout": 0.3})


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
