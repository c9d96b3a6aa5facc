"""One parent run a study, one child a trial; writing anything twice changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from study.config.schema import StudyConfig
from study.errors import TrackingError, redacted_text
from study.storage.atomic import write_atomically
from study.storage.ledger import DESCRIPTION, StudyFolder, TrialFolder
from study.tracking.mlflow.choice import Choice
from study.tracking.mlflow.server import connect, first_line, redacted, refused, within
from study.tracking.mlflow.views import experiment_tags

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
TRIAL_TAGS = ("trial_id", "stage", "arm", "label", "split_hash", "config_hash")
"""Those that a trial has: `config_hash` came later than the first studies."""
TRIAL_PARAMS = ("subset", "bias_lr", "ln_lr", "distill_weight", "seed")
UNSENT = ("epoch", "seconds", "ended_at", "bias_lr", "ln_lr")
"""Of a report: the rates of each epoch follow from those of the trial, which are parameters."""
SAME_AS_SCORE = ("_accuracy", "_hmean")
"""Endings of those parts of a score that it equals wherever they are."""
OPENS_WITHIN = 120.0
"""Seconds in which a server takes a study's own run, in some eight calls."""
BATCH = 900
"""Metrics a call; MLflow takes 1,000."""
STUDY_ARTIFACTS = (
    "study.yaml",
    "identity.json",
    "shots",
    "candidates.json",
    "results.parquet",
    "leaderboard.csv",
    "leaderboard.md",
    "cells.json",
    "ablation.csv",
    "ablation.md",
    "ablation.parquet",
    "report.html",
    "plots",
)
TRIAL_ARTIFACTS = (
    "config.json",
    "reports.jsonl",
    "delta*.safetensors",
    "per_class.json",
    "confusion.json",
)


class RunWriter:
    """Writes one study's runs. A mark in each folder tells what has been sent."""

    def __init__(self, config: StudyConfig, folder: StudyFolder, uri: str) -> None:
        self._config = config
        self._folder = folder
        self._uri = uri
        # Pages fetch whatever a run has, for a hundred runs at once, so each of these is either
        # shown, filtered by, or read by `study.tracking`; what all trials share, the parent has.
        self._tags = {"study": folder.name, "study_id": folder.identity["study_id"]}
        self._params = {
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "shots": str(config.data.shots),
        }
        self.client: MlflowClient
        self.experiment_id: str
        self.parent_id: str
        self._perhaps_there: set[str] = set()
        """Trials that may have a run which their folder does not tell of: whoever created it died,
        or did not hear the answer. Looking for a run costs the more the more there are, so the
        others, which are nearly all, are not looked for."""

    def open_study(self) -> None:
        """Connect, and find or create the experiment and the parent run.

        Raises:
            TrackingError: the server does not answer.
        """
        self._perhaps_there = {trial.trial_id for trial in self._folder.trials()}
        name = self._config.tracking.experiment
        self.client = connect(self._uri, name)
        try:
            within(OPENS_WITHIN, lambda: self._open(name))
        except Exception as error:  # of MLflow, a database, its driver or the network
            raise TrackingError(
                f"the MLflow tracking server or store {redacted(self._uri)} does not take a run "
                f"({first_line(error)})"
            ) from None

    def reach(self) -> None:
        """See that the server still answers.

        Raises:
            TrackingError: it does not.
        """
        connect(self._uri, self._config.tracking.experiment)

    def _open(self, experiment: str) -> None:
        self.experiment_id = self._experiment(experiment)
        self.parent_id = self._open_parent()

    def _open_parent(self) -> str:
        found = self._find("tags.study_parent = 'yes'")
        if found is None:
            tags = {
                "stage": "study",
                "study_parent": "yes",
                "dataset": self._config.data.dataset,
                "backbone": self._config.backbone.name,
                "protocol": self._config.protocol,
                "git_commit": self._folder.identity["git_commit"],
                **self._tags,
            }
            found = self.client.create_run(
                self.experiment_id,
                start_time=_written(self._folder.config_path),
                run_name=self._folder.name,
                tags=tags,
            )
        elif found.info.status != "RUNNING":
            self.client.update_run(found.info.run_id, status="RUNNING")
        values = _flat(self._config.model_dump(mode="json"))
        # A server may have gone before it had all; what it has cannot change.
        params = [Param(k, v[:6000]) for k, v in values if k not in found.data.params]
        for at in range(0, len(params), 100):
            self.client.log_batch(found.info.run_id, params=params[at : at + 100])
        return str(found.info.run_id)

    def sync_trial(self, trial_id: str) -> None:
        """Bring a trial's run up to what its folder holds."""
        folder = self._folder.trial(trial_id)
        if not (folder.path / "config.json").exists():  # it has been renamed
            return
        mark = _Mark.read(folder)
        if mark.parent_id != self.parent_id:  # what was sent, went to another server
            mark = _Mark(parent_id=self.parent_id)
        if mark.closed and folder.end is None:  # it was damaged, and is trained again
            mark.closed, mark.paused = False, True
        if mark.closed and mark.trial_id in ("", trial_id):
            return
        if mark.paused:
            self.client.update_run(mark.run_id, status="RUNNING")
            mark.paused = False
        # The end first: with one that came after the reports were read, they would lack the last.
        end = folder.end
        config, reports = folder.config, folder.reports
        if not mark.run_id:
            began = _written(folder.path / "config.json")
            mark.run_id, mark.began = self._trial_run(config, began)
        elif mark.trial_id not in ("", trial_id):
            self._retag(mark.run_id, config)
            mark.winner = False
        mark.trial_id = trial_id
        metrics = list(_metrics(reports, mark.began))[mark.reports :]
        points = [metric for epoch in metrics for metric in epoch]
        for at in range(0, len(points), BATCH):
            self.client.log_batch(mark.run_id, metrics=points[at : at + BATCH])
        if end is not None:
            totals = {"epochs": end.epochs, "seconds": end.seconds}
            tags = {"stop_reason": end.reason or end.status}
            if end.error:
                error = redacted_text(end.error[-4000:])
                tags |= {"error": error, NOTE: f"```\n{error}\n```"}
            self.client.log_batch(
                mark.run_id,
                metrics=[Metric(key, value, mark.began, 0) for key, value in totals.items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            for pattern in TRIAL_ARTIFACTS:
                for path in sorted(folder.path.glob(pattern)):
                    self.client.log_artifact(mark.run_id, str(path))
            ended = _written(folder.path / "end.json")
            self.client.set_terminated(mark.run_id, STATUS[end.status], end_time=ended)
            mark.closed = True
        # A trial that lost epochs gives them again as they were.
        mark.reports = max(mark.reports, len(reports))
        mark.write(folder)

    def close_study(self, *, finished: bool) -> None:
        """Attach the study's tables and report to the parent run and end it."""
        for name in STUDY_ARTIFACTS:
            path = self._folder.path / name
            if path.is_dir():
                self.client.log_artifacts(self.parent_id, str(path), artifact_path=name)
            elif path.exists():
                self.client.log_artifact(self.parent_id, str(path))
        description = self._folder.path / DESCRIPTION
        if description.exists():
            text = description.read_text(encoding="utf-8")
            self.client.set_tag(self.parent_id, NOTE, text)
        winners = self._winners()
        for trial in self._folder.trials():
            try:
                self._settle(trial, winner=trial.trial_id in winners)
            except Exception as error:  # a run that was refused before; the others are settled
                if not refused(error):
                    raise
        ends = [_written(path) for path in self._folder.path.glob("trials/*/end.json")]
        status = "FINISHED" if finished else "KILLED"
        self.client.set_terminated(self.parent_id, status, end_time=max(ends, default=None))

    def _settle(self, trial: TrialFolder, *, winner: bool) -> None:
        """End a trial's run that was interrupted, and let its name tell of the choice."""
        mark = _Mark.read(trial)
        if mark.run_id and not mark.closed:
            self.client.set_terminated(mark.run_id, "KILLED")
            mark.paused = True
            mark.write(trial)
        if mark.run_id and mark.winner != winner:
            self.client.update_run(mark.run_id, name=_run_name(trial.config, winner=winner))
            mark.winner = winner
            mark.write(trial)

    def _winners(self) -> set[str]:
        """Return the trial that validation chose and those that confirmed it above chance.

        Others may have the same score, and MLflow does not know who is first among equals.
        """
        choice = Choice.read(self._config, self._folder)
        if choice is None or choice.at_chance:
            return set()
        return {choice.candidate["source_trial"], *(trial.trial_id for trial in choice.trials)}

    def _trial_run(self, config: Mapping[str, Any], began: int) -> tuple[str, int]:
        """Find or create a trial's run: a driver may have died after creating it.

        Gives its id and when it was created, in milliseconds.
        """
        trial_id = config["trial_id"]
        found = None
        if trial_id in self._perhaps_there:
            found = self._find(f"tags.trial_id = '{trial_id}'")
        if found is None:
            self._perhaps_there.add(trial_id)
            tags = {
                PARENT: self.parent_id,
                **{key: str(config[key]) for key in TRIAL_TAGS if key in config},
                **self._tags,
            }
            if config.get("taken_from"):
                tags["taken_from"] = config["taken_from"]
            found = self.client.create_run(
                self.experiment_id, start_time=began, run_name=_run_name(config), tags=tags
            )
        params = [Param(key, str(config[key])) for key in TRIAL_PARAMS if config[key] is not None]
        params += [Param(key, value) for key, value in self._params.items()]
        began = int(found.info.start_time)
        trainable = Metric("trainable", config["trainable"], began, 0)
        self.client.log_batch(found.info.run_id, metrics=[trainable], params=params)
        return str(found.info.run_id), began

    def _retag(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Let a run follow its trial to another name."""
        self.client.update_run(run_id, name=_run_name(config))
        for key in TRIAL_TAGS:
            if key in config:
                self.client.set_tag(run_id, key, str(config[key]))

    def _find(self, condition: str) -> Run | None:
        runs = self.client.search_runs(
            [self.experiment_id],
            filter_string=f"tags.study_id = '{self._tags['study_id']}' and {condition}",
            max_results=1,
        )
        return runs[0] if runs else None

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        try:
            return str(self.client.create_experiment(name, tags=experiment_tags()))
        except MlflowException:  # another study created it in between
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)


@dataclass
class _Mark:
    """What of a trial has been sent: ``mlflow.json`` in its folder."""

    parent_id: str = ""
    run_id: str = ""
    trial_id: str = ""
    """The name that the trial had when it was sent."""
    began: int = 0
    """When the run was created, in milliseconds: the origin of its metrics' times."""
    reports: int = 0
    closed: bool = False
    paused: bool = False
    """The study was interrupted with this trial unfinished."""
    winner: bool = False
    """The run's name says that this is what validation chose."""

    @classmethod
    def read(cls, folder: TrialFolder) -> _Mark:
        try:
            return cls(**json.loads((folder.path / "mlflow.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls()

    def write(self, folder: TrialFolder) -> None:
        write_atomically(folder.path / "mlflow.json", json.dumps(asdict(self)))


def _run_name(config: Mapping[str, Any], *, winner: bool = False) -> str:
    name = f"{config['label']} ★" if winner else str(config["label"])
    return f"{name} · seed {config['seed']}" if config["stage"] == "confirm" else name


def _written(path: Path) -> int:
    """Give when a file was written, in milliseconds: results may be sent long after."""
    return int(path.stat().st_mtime * 1000)


def _metrics(reports: Iterable[dict[str, Any]], began: int) -> Iterator[list[Metric]]:
    """Give each epoch's metrics.

    Their times follow from the reports, since MLflow takes an equal point once: what is sent
    again, after a driver died before it marked it as sent, then changes nothing.
    """
    seconds = 0.0
    for report in reports:
        seconds += report["seconds"]
        time = began + int(1000 * seconds)
        yield [
            Metric(key, value, time, report["epoch"])
            for key, value in report.items()
            if key not in UNSENT and not key.endswith(SAME_AS_SCORE)
        ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and f"{prefix}{key}" not in ("tracking.uri", "name"):
            yield f"{prefix}{key}", str(value)
