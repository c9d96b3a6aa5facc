"""Trials of one training: each reports what it would report if it had trained alone."""

from typing import Any
from unittest.mock import Mock

import pytest

from study.backbones.backbone import Backbone
from study.config.peer_settings import Peer
from study.config.trial_settings import TrialSettings
from study.storage.ledger_files import JsonObject
from study.trial import TrialConfig
from study.trial.run_trial import run_trial
from study.trial.task_features import image_features
from tests.case_tables import from_table
from tests.small_trials import Prepare, outcome, trial

LINEAR: JsonObject = {"head": "linear", "head_lr": 0.01, "head_steps": 5}
USES: tuple[JsonObject, ...] = (
    {"strength": 0.5, **LINEAR},
    {},
    {"strength": 0.5},
    LINEAR,
    {"head": "linear"},
    {"strength": 0.5, **LINEAR, "calibration": 1.5},
)
TRAINED: dict[str, JsonObject] = {
    "subset": {},
    "lora": {"peer": {"method": "lora", "lr": 0.05, "dropout": 0.2}},
}


def used(number: int, peer: Any = None, **changes: Any) -> TrialConfig:
    own = trial(trial_id=f"confirm-{number}", stage="confirm", **changes)
    finish = own.settings.model_dump(include={"strength", "calibration", *LINEAR})
    return own.model_copy(
        update={"settings": TrialSettings(subset="none", peer=Peer(**peer), **finish)}
        if peer
        else {}
    )


@from_table
def test_siblings_report_what_they_would_alone(
    prepare: Prepare, backbone: Backbone, setting: str, trained: str
):
    data = prepare(setting).confirm(1)
    first, *siblings = (used(n, epochs=2, **TRAINED[trained], **use) for n, use in enumerate(USES))
    *_, together = run_trial(first, data, backbone, siblings=siblings)
    assert len(together.siblings) == len(siblings)
    for config, report in zip((first, *siblings), (together, *together.siblings), strict=True):
        *_, alone = run_trial(config, data, backbone)
        assert outcome(report) == outcome(alone)
    assert {report.metrics["seconds"] for report in together.siblings} == {0.0}


def test_what_equal_strengths_share_is_computed_once(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    data, encoded = prepare("augmented").confirm(1), Mock(wraps=image_features)
    monkeypatch.setattr("study.trial.task_features.image_features", encoded)
    first, *siblings = (used(n, epochs=1, **use) for n, use in enumerate(USES))
    list(run_trial(first, data, backbone, siblings=siblings))
    assert encoded.call_count == 2


def test_settings_of_one_training_are_told_by_it():
    settings = [used(n, **use).settings for n, use in enumerate(USES)]
    (alike,) = {own.training_settings for own in settings}
    assert alike == used(0).settings
    assert used(0, ln_lr=0.01).settings.training_settings != alike
    assert TrialSettings(subset="none", **LINEAR).training_settings == TrialSettings(subset="none")
