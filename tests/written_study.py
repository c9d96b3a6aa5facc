"""A study's folder written by hand, and what MLflow has of it: tests of tracking need no more."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from study.commands.sync import send_missing
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.data.tasks import Task
from study.storage.atomic import sha256_of
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import End
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.trial.study import SPLIT_HASH, Study, TrialConfig
from tests.settings import with_settings

EPOCHS = 3


class Written:
    """A study's folder, and what writes trials into it."""

    def __init__(self, path: Path, name: str):
        self.config: StudyConfig = build_config(
            {
                "name": name,
                "tracking": {"experiment": name},
                "storage": str(path),
                "final": {"images": "shots"},
            },
            name,
        )
        self.folder = StudyFolder(path / name)
        self.folder.create(dump_config(self.config), {})

    @property
    def study(self) -> Study:
        """The study, of which nothing has been read."""
        return Study(self.config, self.folder)

    def trial(self, number: int, **changes: Any) -> TrialConfig:
        """Begin a trial."""
        values: dict[str, Any] = {
            "trial_id": f"search-{number:04d}",
            "stage": "search",
            "group": "search",
            "label": f"trial {number}",
            "number": number,
            "seed": 1,
            "subset": "vision.ln[0:2]",
            "trainable": 1536,
            "ln_lr": 0.01 + number,
            "epochs": EPOCHS,
            "split_hash": "f" * 16,
        }
        config = TrialConfig.model_validate(with_settings(values | changes))
        self.folder.trial(config.trial_id).create(config.model_dump(mode="json"))
        return config

    def report(self, config: TrialConfig, epoch: int, seconds: float = 0.5) -> dict[str, float]:
        """Record an epoch; give its metrics."""
        score = round(0.1 * config.number + 0.01 * epoch, 6)
        metrics = {"train_loss": 2.0 - score, "val_score": score, "seconds": seconds}
        self.folder.trial(config.trial_id).append_report(
            {
                "epoch": epoch,
                "ended_at": round(time.time(), 3),
                **metrics,
                "head": config.settings.head or "text",
            }
        )
        return metrics

    def end(self, config: TrialConfig, status: Any = "finished", **message: Any) -> End:
        """Close a trial, with a delta unless it failed."""
        trial = self.folder.trial(config.trial_id)
        if status != "failed":
            (trial.path / "delta.safetensors").write_bytes(b"delta")
        end = End(status, len(trial.read_reports()), 1.5, **message)
        trial.write_end(end)
        return end

    def whole(
        self, number: int, status: Any = "finished", epochs: int = EPOCHS, **message: Any
    ) -> TrialConfig:
        """Write a trial from its beginning to its end."""
        config = self.trial(number)
        for epoch in range(1, epochs + 1):
            self.report(config, epoch)
        self.end(config, status, **message)
        return config

    def conclude(self):
        """Write what a study writes last of all."""
        (self.folder.path / DESCRIPTION).write_text("the **best** is here")


MakeStudy = Callable[[str], Written]
"""Makes a study of a name."""


def tasks_file(*tasks: Task, names: tuple[str, ...] = ("digits", "letters")) -> tuple[bytes, str]:
    """Return a file of the tasks of trials as a study writes it, and their split hash."""
    lines = [json.dumps({"dataset": name, "class_names": ["a", "b"]}) for name in names]
    for number, task in enumerate(tasks):
        lines += [json.dumps({"task": number, "digest": task.digest}), *task.lines()]
    digests = [task.digest for task in tasks]
    digest = sha256_of("".join(digests).encode())
    return ("\n".join(lines) + "\n").encode(), digest[:SPLIT_HASH]


def record_tasks(folder: StudyFolder, *tasks: Task) -> str:
    """Write the tasks of a study's trials; return their split hash."""
    contents, split_hash = tasks_file(*tasks)
    place = folder.path / "shots"
    place.mkdir(exist_ok=True)
    (place / f"tasks-{split_hash}.jsonl").write_bytes(contents)
    return split_hash


def runs(uri: str, study: Written) -> dict[str, Run]:
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


def sync(study: Any, uri: str, write_outputs: Callable[[], object] = lambda: None) -> int:
    """Send what is unsent of a study; return the number of its trials."""
    send_missing(_tracked_at(study.study, uri), MlflowTracker(), write_outputs)
    return len(list(study.folder.trials()))


def _tracked_at(study: Study, uri: str) -> Study:
    tracking = study.config.tracking.model_copy(update={"uri": uri})
    return Study(study.config.model_copy(update={"tracking": tracking}), study.folder)


def artifacts(uri: str, run: Run, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for item in MlflowClient(uri).list_artifacts(run.info.run_id, path):
        found |= artifacts(uri, run, item.path) if item.is_dir else {item.path}
    return found


def assert_whole(uri: str, study: Written, trials: int):
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
        assert {"config.json", "reports.jsonl", "delta.safetensors"} <= {
            artifact.path for artifact in MlflowClient(uri).list_artifacts(run.info.run_id)
        }
