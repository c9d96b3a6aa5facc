"""What a worker makes of a trial: epochs on disk, a delta, or a failure with its cause."""

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from study.backbones.description import read_architecture
from study.config.loading import load_config
from study.data.images.image_reading import ImageReading
from study.errors import DataError, StudyError
from study.method.delta import HEAD_CLASSES, load_delta
from study.search import trainable
from study.search.trainable import ClipFitTrainable, WorkerSettings, one_line, trial_device
from study.serving.classifier import load_classifier
from tests import small_trials
from tests.tiny_study import TinyStudy, statuses, untimed

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def test_the_delta_of_a_trial_says_how_its_images_were_read(
    make_study: Callable[..., Any],
) -> None:
    study = make_study("range")
    trial = study.folder.trial("search-0000")
    config = small_trials.trial(trial_id=trial.trial_id, subset="vision.ln_post", epochs=1)
    trial.create(config.model_dump(mode="json"))
    trainable = object.__new__(ClipFitTrainable)
    gc.disable()  # as a worker begins
    trainable.setup(
        config.model_dump(mode="json"),
        worker=WorkerSettings(
            study.folder.path, study.config.backbone, threads=1, max_epoch_seconds=None
        ),
        data={"search/1": replace(study.preparer.confirm(1), reading=ImageReading((0, 4095)))},
        siblings={},
    )
    assert gc.isenabled()
    assert trainable.step()["done"]
    assert load_delta(trial.path / "delta.safetensors")[1].reading.pixel_range == (0, 4095)


def test_every_trained_trial_leaves_its_delta_the_stopped_ones_too(searched: Any) -> None:
    for trial in searched.folder.trials():
        path = trial.path / "delta.safetensors"
        assert path.exists() == bool(trial.read_config()["trainable"])
        if path.exists():
            tensors, info = load_delta(path)
            numbers = sum(t.numel() for name, t in tensors.items() if name != HEAD_CLASSES)
            assert numbers == trial.read_config()["trainable"]
            assert info.subset == trial.read_config()["settings"]["subset"]


def test_observers_hear_every_metric_that_the_ledger_has_of_an_epoch(searched: Any) -> None:
    reports = {
        (trial.trial_id, report.pop("epoch")): report
        for trial in searched.folder.trials()
        for report in trial.read_reports()
    }
    for report in reports.values():
        del report["ended_at"]
        report.pop("folds", None)
    heard = {place: searched.heard.metrics[place] for place in searched.heard.metrics}
    assert heard == {place: reports[place] for place in heard}
    assert {trial_id for trial_id, _ in heard} == {trial_id for trial_id, _ in reports}


def test_a_trial_whose_worker_is_killed_goes_on_from_its_last_epoch(
    troubled: Any, searched: Any
) -> None:
    trial = troubled.folder.trial("search-0001")
    events = [event for event in troubled.heard.events if event[1] == "search-0001"]
    assert [event[0] for event in events].count("started") == 2, "its worker was not killed"
    assert Counter(event[2] for event in events if event[0] == "reported") == {
        1: 1,
        2: 1,
        3: 1,
        4: 1,
    }
    assert [r["epoch"] for r in trial.read_reports()] == [1, 2, 3, 4]
    assert trial.read_end().status == "finished"
    assert untimed(trial) == untimed(searched.folder.trial("search-0001"))


@pytest.mark.parametrize(
    ("number", "told"),
    [(2, ["Traceback", "NonFiniteLossError", "epoch 1"]), (3, ["Traceback", "IsADirectoryError"])],
)
def test_a_trial_that_diverges_or_raises_is_recorded_with_its_traceback(
    troubled: Any, number: int, told: list[str]
) -> None:
    end = troubled.folder.trial(f"search-{number:04d}").read_end()
    assert end.status == "failed"
    for part in told:
        assert part in end.error


def test_a_backbone_named_by_a_relative_folder_is_found_by_workers_and_later_readers(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_backbone.parent)
    relative = Path(tiny_backbone.name)
    baselines = {
        "zero-shot": {"subset": "none"},
        "clipfit": {"subset": "clipfit", "rates": {"bias": 0.002, "ln": 0.002}},
    }
    search = {"trials": 4, "asha": None, "sampler": "random", "baselines": baselines}
    study = TinyStudy(tmp_path, "relative", relative, search=search)
    study.search()
    assert statuses(study.folder) == {"finished": 4}
    monkeypatch.chdir(tmp_path)
    resumed = load_config(study.folder.config_path)
    assert read_architecture(resumed.backbone.name) == study.architecture
    clipfit = study.folder.trial("search-0001").path / "delta.safetensors"
    assert load_classifier(clipfit).backbone.image_size == 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU can be used")
def test_a_gpu_that_pytorch_cannot_use_is_told_and_no_cpu_takes_its_place() -> None:
    with pytest.raises(StudyError, match=r"resources\.gpus_per_trial=0"):
        ray.get(ray.remote(num_gpus=1)(trial_device).remote())


@pytest.mark.parametrize(
    ("kind", "gpus", "expected"),
    [(None, [], "cpu"), ("cuda", [], "cuda"), ("mps", [], "cpu"), ("mps", [0], "mps")],
)
def test_a_trial_is_on_cuda_or_on_mps_if_that_is_assigned_or_else_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, gpus: list[int], expected: str
) -> None:
    monkeypatch.setattr(trainable, "gpu_kind", lambda: kind)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: gpus)
    assert trial_device() == expected


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no\nsuch   thing"), "ValueError: no such thing"),
        (ValueError(), "ValueError"),
        (DataError("images/1.png:\nnot a readable image"), "images/1.png: not a readable image"),
        (DataError("x" * 201), f"{'x' * 200}…"),
        (DataError("x" * 200), "x" * 200),
    ],
)
def test_the_cause_of_a_failure_is_one_line_that_names_what_is_not_ours(
    error: Exception, line: str
) -> None:
    assert one_line(error) == line
