"""What a worker makes of a trial: epochs on disk, a delta, or a failure with its cause."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import ray

from study.config.schema import StudyConfig
from study.errors import StudyError
from study.method.delta import HEAD_CLASSES, load_delta
from study.search import trial_worker
from study.search.auto_precision import decide_precision
from study.search.trial_worker import TrialWorker, trial_device
from study.storage.study_folder import StudyFolder
from study.trial.study import PRECISION, EpochReport, TrialConfig
from tests.settings import clipfit_trial

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    "scored, seconds, steps",
    [((3, 4), 60, [3, 4]), ((), 60, [4]), ((), 0, [1, 2, 3, 4])],
    ids=["to the next score", "to the end", "one by one"],
)
def test_a_step_goes_on_with_short_epochs_and_writes_them_together(
    monkeypatch: pytest.MonkeyPatch, scored: Sequence[int], seconds: float, steps: list[int]
):
    reports = [EpochReport(n, n == 4, {}) for n in range(1, 5)]
    for epoch in scored:
        reports[epoch - 1] = replace(reports[epoch - 1], scores={"text": {"score": 0.5}})
    written: list[list[int]] = []
    monkeypatch.setattr(
        trial_worker,
        "record_epochs",
        lambda _, reports, *__: written.append([report.epoch for report in reports]),
    )
    monkeypatch.setattr(TrialWorker, "_start", lambda worker: iter(reports))
    unlimited = StudyConfig().with_section("resources", max_epoch_seconds=None)
    worker = TrialWorker(StudyFolder(Path("runs/mine")), unlimited)
    trial = clipfit_trial()
    worker.start(trial, {trial.stage: {trial.seed: Mock()}})
    worker._info = Mock()
    results = [worker.step(seconds)["epoch"] for _ in steps]
    assert results == steps
    assert [epochs[-1] for epochs in written] == steps
    assert list(chain.from_iterable(written)) == [1, 2, 3, 4]


def test_every_trial_leaves_its_delta_the_stopped_ones_too(searched: Any):
    for trial in searched.folder.trials():
        config = TrialConfig.model_validate(trial.read_config())
        path = trial.path / "delta.safetensors"
        assert path.exists() == config.settings.writes_delta
        if path.exists():
            tensors, info = load_delta(path)
            numbers = [t.numel() for name, t in tensors.items() if not name.startswith("head.")]
            assert sum(numbers) == config.trainable, "less the head, which every trial has"
            assert (HEAD_CLASSES in tensors) == (config.settings.head == "linear")
            assert info.subset == config.settings.subset


@pytest.mark.parametrize(
    "kind, gpus, expected",
    [
        (None, [], "cpu"),
        ("cuda", [], "cuda"),
        ("mps", [], "cpu"),
        ("mps", [0], "mps"),
        (None, [0], None),
    ],
)
def test_a_trial_is_on_cuda_or_an_assigned_mps_or_the_cpu(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, gpus: list[int], expected: str | None
):
    monkeypatch.setattr(trial_worker, "gpu_kind", lambda: kind)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: gpus)
    if expected is not None:
        assert trial_device() == expected
        return
    with pytest.raises(StudyError, match=r"resources\.gpus_per_trial=0"):
        trial_device()


# The precision of a study

AUTO = {"epochs": 1, "batch_size": 8, "precision": "auto"}


def test_the_precision_of_the_trials_stays_if_its_file_is_lost(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ray.remote", lambda **_: pytest.fail("no worker need be asked"))
    study = make_study("lost", training=AUTO).study
    study.folder.trial("search-0000").create({"training": {**AUTO, "precision": "bfloat16"}})
    assert decide_precision(study).config.training.precision == "bfloat16"
    assert study.folder.read_json(PRECISION) == "bfloat16"
