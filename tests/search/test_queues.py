"""Candidates of one training: it is done once, and each has what it would have alone."""

import json
import shutil
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
from tests.tiny_study import Listener, TinyStudy, untimed
from tests.written_study import Written

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., TinyStudy]
TUNED = {"subset": "clipfit", "rates": {"bias": 0.05, "ln": 0.02}, "distill_weight": 1.0}
LINEAR = {"head": "linear", "head_lr": 0.01, "head_steps": 5}
INFO = DeltaInfo(
    backbone="tiny",
    revision=None,
    fingerprint="",
    subset="ln",
    class_names=("a",),
    templates=("{}",),
)


def candidates(**rates: float) -> list[Candidate]:
    found = {
        "plain": TUNED,
        "other": {**TUNED, "rates": {"bias": 0.05, "ln": 0.01}},
        "kept": {**TUNED, "strength": 0.5},
        # The same tensors, written otherwise.
        "linear": {**TUNED, "subset": "text.mlp.fc2.bias + vision.ln", **LINEAR},
    }
    return [
        Candidate(label=k, settings=TrialSettings.model_validate({**v, **rates}))
        for k, v in found.items()
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
    study = make_study("together")
    return study, confirm(study, candidates())


@pytest.fixture(scope="module")
def alone(make_study: MakeStudy) -> tuple[Any, ...]:
    """The last candidate, which is trained here and takes over from the first otherwise."""
    trials = confirm(make_study("alone"), candidates()[-1:])
    return whole(trials["linear"])


def test_one_has_what_it_would_have_alone(together: Any, alone: tuple[Any, ...]) -> None:
    _, trials = together
    assert whole(trials["linear"]) == alone


def test_one_of_them_trains_and_all_are_heard_of(together: Any) -> None:
    study, trials = together
    assert heard(study, "started") == ["plain", "other"]
    assert sorted(heard(study, "ended")) == sorted(trials)
    sources = {label: trial.read_config()["taken_from"] for label, trial in trials.items()}
    assert sources == {
        **dict.fromkeys(("plain", "other")),
        **dict.fromkeys(("kept", "linear"), "together/confirm-plain-seed1"),
    }
    ends = {label: trial.read_end() for label, trial in trials.items()}
    assert {end.status for end in ends.values()} == {"finished"}
    assert ends["kept"].reason == "the training is that of confirm-plain-seed1"
    assert ends["plain"].seconds > ends["kept"].seconds == 0.0


@pytest.mark.long
def test_what_is_missing_of_them_is_made_and_the_rest_stays(
    make_study: MakeStudy, together: Any
) -> None:
    study = make_study("lost")
    trials = confirm(study, candidates())
    kept = {label: trial.path.stat().st_mtime_ns for label, trial in trials.items()}
    # A worker added one of its siblings and died before its own last epoch was recorded.
    for label in ("plain", "linear"):
        shutil.rmtree(trials[label].path)
    study.heard.events.clear()
    again = confirm(study, candidates())
    assert {label: whole(trial) for label, trial in again.items()} == {
        label: whole(trial) for label, trial in together[1].items()
    }
    assert heard(study, "started") == ["plain"]
    for label in ("kept", "other"):
        assert again[label].path.stat().st_mtime_ns == kept[label]


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_that_came_to_its_earlier_end_as_its_driver_died_goes_no_further(
    tmp_path: Path, epochs: int
) -> None:
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
    trial_read = read_and_close_trials(study.study, "search", {}, [heard])[config.trial_id]
    assert trial_read.before == before
    assert trial_read.end == trial.read_end() == (before if epochs == 2 else None)
    ended = [("ended", config.trial_id, "stopped")]
    assert heard.events == (ended if epochs == 2 else [])
