"""The model of a task: what passes its encoders at once, and what is kept of it."""

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from study.trial.task_model import TaskModel
from tests.small_trials import Prepare, trial


def test_a_strength_keeps_its_share_of_the_change(holdout: TrialData, backbone: Backbone):
    def delta(strength: float) -> dict[str, Tensor]:
        config = trial(subset="clipfit + text.ln + vision.bias", strength=strength)
        *_, report = run_trial(config, holdout, backbone)
        return report.deltas[0]

    whole, half = delta(strength=1), delta(strength=0.5)
    assert whole.keys() == half.keys()
    initial = dict(backbone.clip.named_parameters())
    for name, tensor in half.items():
        assert torch.equal(tensor, initial[name].lerp(whole[name], 0.5))


def test_each_task_of_a_trial_has_a_seed_of_its_own(prepare: Prepare, backbone: Backbone):
    data = prepare("folds").search()
    seeds = set()
    for seed in (1, 2):
        for index in range(len(data.tasks)):
            seeds.add(TaskModel(trial(seed=seed), data, backbone, index).seed)
    assert len(seeds) == 2 * len(data.tasks)
