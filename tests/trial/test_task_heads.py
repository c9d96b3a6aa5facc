"""Linear heads on the features of a task's model, trained in the ways that uses ask for."""

import torch

from study.backbones.backbone import Backbone
from study.method.delta import HEAD_ROWS
from study.method.head import DEFAULT, GRID, HeadTraining
from study.storage.ledger_files import JsonObject
from study.trial import TrialData
from study.trial.task_evaluation import head_trainings, train_task_heads
from study.trial.task_model import make_task_model
from tests.not_none import not_none
from tests.small_trials import Prepare, last_report, trial

LINEAR: JsonObject = {"head": "linear", "head_lr": 0.01, "head_steps": 30}
BOTH = {"subset": "clipfit + text.ln + vision.bias"}
NOTHING: JsonObject = {"subset": "none", "epochs": 0, "bias_lr": None, "ln_lr": None}


def test_validation_chooses_among_trainings_unless_one_is_given(prepare: Prepare):
    search, confirm = prepare("holdout").search(), prepare("holdout").confirm(1)
    given, chosen = trial(**LINEAR).settings, trial(head="linear").settings
    for data in (search, confirm):
        assert head_trainings(given, data) == (HeadTraining(0.01, 30),)
        assert head_trainings(trial().settings, data) == ()
    assert head_trainings(chosen, search) == GRID
    assert head_trainings(chosen, confirm) == (DEFAULT,)


def test_uses_that_ask_for_the_same_trainings_share_their_heads(
    holdout: TrialData, backbone: Backbone
):
    (task,) = holdout.tasks
    model = make_task_model(trial(), holdout, backbone, 0)
    ways = (HeadTraining(0.01, 1), HeadTraining(0.01, 5))
    heads = train_task_heads(model, [(), ways, (), ways])
    assert heads.keys() == {(), ways}
    assert [*heads[()]] == [(None, None)]
    assert tuple(training for _, training in heads[ways]) == ways
    one, other = (not_none(head) for head, _ in heads[ways])
    assert one.classes == other.classes == task.train.classes
    assert not torch.equal(one.rows, other.rows)


def test_a_head_is_trained_on_features_at_the_strength(holdout: TrialData, backbone: Backbone):
    rows = {
        alpha: last_report(holdout, backbone, **LINEAR, **BOTH, strength=alpha).deltas[0][HEAD_ROWS]
        for alpha in (0.0, 0.5, 1.0)
    }
    untouched = last_report(holdout, backbone, **NOTHING, **LINEAR).deltas[0][HEAD_ROWS]
    torch.testing.assert_close(rows[0.0], untouched, atol=1e-3, rtol=0)
    assert all((rows[alpha] - untouched).abs().max() > 0.01 for alpha in (0.5, 1.0))
