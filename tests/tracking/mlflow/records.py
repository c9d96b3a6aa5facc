"""What MLflow has of a study, and what sends it there."""

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from study.commands.sync import send_missing
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.trial.study import Study
from tests.study_writer import EPOCHS, StudyWriter


def runs(uri: str, study: StudyWriter) -> dict[str, Run]:
    """The study's runs by trial id; the parent as ``""``."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study.config.tracking.experiment)
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    by_trial = {run.data.tags.get("trial_id", ""): run for run in found}
    assert len(by_trial) == len(found), "a trial has two runs"
    return by_trial


def history(uri: str, run: Run, key: str = "val_score") -> list[tuple[int, float]]:
    points = MlflowClient(uri).get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.value) for point in points)


def started(study: Any, uri: str) -> MlflowTracker:
    """Start MLflow's tracker for a study, with the address of a server that may hold a password."""
    tracker = MlflowTracker()
    tracker.start(_tracked_at(study.study, uri))
    return tracker


def sync(study: Any, uri: str, write_results: Callable[[], object] = lambda: None):
    """Send what is unsent of a study."""
    send_missing(_tracked_at(study.study, uri), MlflowTracker(), write_results)


def _tracked_at(study: Study, uri: str) -> Study:
    tracking = study.config.tracking.model_copy(update={"uri": uri})
    return Study(study.config.model_copy(update={"tracking": tracking}), study.folder)


def artifacts(uri: str, run: Run, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for item in MlflowClient(uri).list_artifacts(run.info.run_id, path):
        found |= artifacts(uri, run, item.path) if item.is_dir else {item.path}
    return found


def assert_whole(uri: str, study: StudyWriter, trials: int):
    """All trials are there once, ended and with their epochs and artifacts, under one parent."""
    found = runs(uri, study)
    assert len(found) == trials + 1
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    parent = found.pop("")
    assert parent.data.params["training.momentum"] == "0.9"
    for run in found.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["subset"] == "vision.ln[0:2]"
        assert [step for step, _ in history(uri, run)] == [*range(1, EPOCHS + 1)]
        for key in ("epochs", "seconds", "trainable"):
            assert len(history(uri, run, key)) == 1
        assert {"config.json", "reports.jsonl", "delta.safetensors"} <= artifacts(uri, run)
