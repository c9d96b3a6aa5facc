"""Candidates of one training: it is done once, and each has what it would have alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.trial_settings import TrialSettings
from study.method.delta import DeltaInfo, to_checked_bytes
from study.search.confirmation import run_confirm
from study.search.queues import read_and_close_trials
from study.search.recording import STATE
from study.storage.trial_folder import TrialFolder
from study.trial import TrialConfig
from study.trial.study import Candidate
from tests.in_process import trials_in_process
from tests.tiny_study import Listener, TinyStudy, untimed
from tests.written_study import Written

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., TinyStudy]
TUNED = {"subset": "clipfit", "rates": {"bias": 0.05, "ln": 0.02}, "distill_weight": 1.0}
TRAINING = {"epochs": 2, "batch_size": 8}
LINEAR = {"head": "linear", "head_lr": 0.01, "head_steps": 5}
INFO = DeltaInfo("tiny", None, "", "ln", class_names=("a",), templates=("{}",))
CANDIDATES = [
    Candidate(label=label, settings=TrialSettings.model_validate(own))
    for label, own in (
        ("plain", TUNED),
        ("other", {**TUNED, "rates": {"bias": 0.05, "ln": 0.01}}),
        ("kept", {**TUNED, "strength": 0.5}),
        # The same tensors, written otherwise.
        ("linear", {**TUNED, "subset": "text.mlp.fc2.bias + vision.ln", **LINEAR}),
    )
]


def confirm(study: TinyStudy, wanted: list[Candidate]) -> dict[str, TrialFolder]:
    """Confirm some candidates with one seed; return the trials by label."""
    run_confirm(study.study, wanted, {1: study.preparer.confirm(1)}, [study.heard])
    return {trial.read_config()["label"]: trial for trial in study.folder.trials()}


def heard(study: TinyStudy, what: str) -> list[str]:
    return [name.split("-")[1] for event, name, _ in study.heard.events if event == what]


def whole(trial: TrialFolder) -> tuple[Any, ...]:
    """All that must be the same of a trial, however it came to its results."""
    config = {k: v for k, v in trial.read_config().items() if k not in ("number", "taken_from")}
    delta, images = (trial.read(n) for n in ("delta.safetensors", "predictions.parquet"))
    return config, untimed(trial), delta, images, trial.damaged()


@pytest.fixture(scope="module")
def together(make_study: MakeStudy) -> tuple[TinyStudy, dict[str, TrialFolder]]:
    study = make_study("together", training=TRAINING)
    return study, confirm(study, CANDIDATES)


def test_one_has_what_it_would_have_alone(together: Any, make_study: MakeStudy):
    with trials_in_process():
        alone = confirm(make_study("alone", training=TRAINING), CANDIDATES[-1:])
    assert whole(together[1]["linear"]) == whole(alone["linear"])


def test_one_of_them_trains_and_all_are_heard_of(together: Any):
    study, trials = together
    assert heard(study, "started") == ["plain", "other"]
    assert sorted(heard(study, "ended")) == sorted(trials)
    origin = "confirm-plain-seed1"
    for label, trial in trials.items():
        end = trial.read_end()
        told = (trial.read_config()["taken_from"], end.reason, end.seconds > 0)
        if label in ("kept", "linear"):
            assert told == (f"together/{origin}", f"the training is that of {origin}", False)
        else:
            assert told == (None, None, True)
        assert end.status == "finished"


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_that_came_to_its_earlier_end_as_its_driver_died_goes_no_further(
    tmp_path: Path, epochs: int
):
    study = Written(tmp_path, "mine")
    study.whole(0, "stopped", epochs=2, reason="successive halving at epoch 2")
    trial = study.folder.trial("search-0000")
    before = trial.read_end()
    trial.reopen()
    config = TrialConfig.model_validate(trial.read_config())
    for epoch in range(1, epochs + 1):
        study.report(config, epoch, 0.75)
    facts = {"epoch": str(epochs), "info": json.dumps(INFO.to_json_values())}
    facts["reports"] = trial.reports_digest(epochs)
    trial.write(STATE, to_checked_bytes({}, facts))
    heard = Listener()
    (found,) = read_and_close_trials(study.study, "search", {}, [heard]).values()
    end = before if epochs == 2 else None
    assert (found.before, found.end, trial.read_end()) == (before, end, end)
    assert heard.events == ([("ended", config.trial_id, "stopped")] if end else [])
