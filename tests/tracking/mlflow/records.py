"""What MLflow has of a study, and what sends it there."""

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from study.commands.sync import send_missing
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.mlflow.run_content import round_significant
from study.trial.study import Study
from tests.not_none import not_none
from tests.study_writer import StudyWriter


def runs(uri: str, study: StudyWriter) -> dict[str, Run]:
    """The study's runs by trial id; the parent as ``""``."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study.config.tracking.experiment)
    own = f"tags.study = '{study.folder.name}'"
    found = client.search_runs([experiment.experiment_id], own) if experiment else []
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


def assert_whole(uri: str, study: StudyWriter):
    """MLflow has each trial once, ended, with each epoch and its artifacts, under one parent."""
    found = runs(uri, study)
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    parent = found.pop("")
    assert parent.data.params["training.momentum"] == "0.9"
    trials = {trial.trial_id: trial for trial in study.folder.trials()}
    assert found.keys() == trials.keys()
    for trial_id, run in found.items():
        trial, end = trials[trial_id], not_none(trials[trial_id].read_end())
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["ended"] == end.status
        settings = trial.read_config()["settings"]
        tuned = settings["method"]["method"] if settings["method"] else settings["subset"]
        assert run.data.params["subset"] == tuned
        reports = trial.read_reports()
        assert [report["epoch"] for report in reports] in ([0], [*range(1, end.epochs + 1)])
        scored = [report for report in reports if "val_score" in report]
        scores = [(report["epoch"], round_significant(report["val_score"])) for report in scored]
        assert history(uri, run) == scores
        for key in ("epochs", "seconds", "trainable"):
            assert len(history(uri, run, key)) == 1
        on_disk = {path.name for path in trial.path.iterdir()}
        sent = {"config.json", "reports.jsonl", "delta.safetensors"} & on_disk
        assert sent <= artifacts(uri, run)
