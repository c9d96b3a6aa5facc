"""Linear heads on the features of a task's model, beside its text."""

from dataclasses import replace

import torch

from study.backbones.backbone import Backbone
from study.config.trial_settings import HEADS
from study.method.delta import HEAD_ROWS
from study.storage.result_folder import JsonObject
from study.trial.study import TrialData
from tests.small_trials import last_report, outcome

LINEAR: JsonObject = {"head": "linear"}
BOTH = {"subset": "clipfit + text.ln + vision.bias"}
NOTHING: JsonObject = {"subset": "none", "epochs": 0, "bias_lr": None, "ln_lr": None}


def test_a_head_is_trained_on_features_at_the_strength(holdout: TrialData, backbone: Backbone):
    rows = {
        alpha: last_report(holdout, backbone, **LINEAR, **BOTH, strength=alpha).deltas[0][HEAD_ROWS]
        for alpha in (0.0, 0.5, 1.0)
    }
    untouched = last_report(holdout, backbone, **NOTHING, **LINEAR).deltas[0][HEAD_ROWS]
    torch.testing.assert_close(rows[0.0], untouched, atol=1e-3, rtol=0)
    assert all((rows[alpha] - untouched).abs().max() > 0.01 for alpha in (0.5, 1.0))


def test_a_training_reports_with_each_head_what_it_would_with_that_head_alone(
    holdout: TrialData, backbone: Backbone
):
    both = last_report(replace(holdout, heads=HEADS), backbone, head=None)
    assert both.head == max(both.scores, key=lambda name: both.scores[name]["score"])
    assert both.metrics["val_score"] == max(one["score"] for one in both.scores.values())
    for head in ("text", "linear"):
        alone = last_report(holdout, backbone, head=head)
        assert alone.scores == {head: both.scores[head]}
        assert both.metrics[f"val_score_{head}"] == alone.metrics["val_score"]
        assert alone.predictions == [one for one in both.predictions if one.head == head]
        if head == both.head:
            assert outcome(alone)["delta 0 head.rows"] == outcome(both)["delta 0 head.rows"]


def test_what_is_given_is_used_with_its_own_head_whichever_is_better(
    holdout: TrialData, backbone: Backbone
):
    for head in ("text", "linear"):
        report = last_report(replace(holdout, heads=HEADS), backbone, head=head)
        assert report.head == head
        assert report.metrics["val_score"] == report.scores[head]["score"]
