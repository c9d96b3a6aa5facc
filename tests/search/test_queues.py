"""A queue of trials: each training is done once with all heads, and what ended stays as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from study.search.queues import read_and_close_trials
from study.search.testing import run_test, trainings_of

from study.config.trial_settings import TrialSettings
from study.method.delta import HEAD_ROWS, DeltaInfo, load_delta, to_checked_bytes
from study.search.choice import make_candidate
from study.search.recording import STATE
from study.storage.trial_folder import TrialFolder
from study.trial import TrialConfig
from study.trial.predictions import read_predictions
from study.trial.study import BEST
from tests.in_process import trials_in_process
from tests.tiny_study import Listener, TinyStudy, untimed
from tests.written_study import Written

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., TinyStudy]
TUNED = {"subset": "clipfit", "rates": {"bias": 0.05, "ln": 0.02}, "distill_weight": 1.0}
# The same tensors, written otherwise.
LINEAR = {**TUNED, "subset": "text.mlp.fc2.bias + vision.ln", "head": "linear"}
INFO = DeltaInfo("tiny", None, "", "ln", class_names=("a",), templates=("{}",))


def trial_of(study: TinyStudy) -> TrialFolder:
    """Test two candidates of one training with one seed; return its trial."""
    candidates = [
        make_candidate(study.study, label, TrialSettings.model_validate(own))
        for label, own in (("plain", TUNED), (BEST, LINEAR))
    ]
    data = {1: study.preparer.test(1)}
    run_test(study.study, trainings_of(candidates), data, [study.heard])
    (trial,) = study.folder.trials()
    assert trial.trial_id == f"test-{candidates[0].training}-seed1"
    return trial


def whole(trial: TrialFolder) -> tuple[Any, ...]:
    """All that must be the same of a trial, however it came to its results."""
    delta, images = (trial.read(n) for n in ("delta.safetensors", "predictions.parquet"))
    return trial.read_config(), untimed(trial), delta, images, trial.damaged()


def test_candidates_of_one_training_share_a_trial_that_has_the_scores_of_each_head(
    make_study: MakeStudy,
):
    given = {
        "training": {"epochs": 2, "batch_size": 8},
        "search": {"heads": ["text", "linear"]},
    }
    study = make_study("by-tune", **given)
    trial = trial_of(study)
    with trials_in_process():
        assert whole(trial_of(make_study("in-process", **given))) == whole(trial)
    *_, last = trial.read_reports()
    assert last["test_score"] == last["test_score_linear"], "the head of the best"
    tensors, _ = load_delta(trial.path / "delta.safetensors")
    assert HEAD_ROWS in tensors
    for head in ("text", "linear"):
        rows = read_predictions(study.folder, trial.trial_id, head)
        right = sum(row.label == row.predicted for row in rows) / len(rows)
        assert right == pytest.approx(last["scores"][head]["score"])


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
