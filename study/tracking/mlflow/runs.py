"""A study's runs: one parent run, and one child per trial. Writing twice changes nothing."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from study.config.settings import Settings, rate_column
from study.errors import TrackingError, redacted_text
from study.method.parameters import kind_names
from study.storage.atomic import read_if_there, with_retries
from study.storage.ledger import CANDIDATES, CELLS, DESCRIPTION, KEPT, TrialFolder
from study.tracking.mlflow.choice import Choice
from study.tracking.mlflow.marks import Mark
from study.tracking.mlflow.server import connect, redacted, refused
from study.tracking.mlflow.views import experiment_tags
from study.tracking.tracker import first_line, within
from study.trial.study import Study

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
TRIAL_TAGS = ("trial_id", "stage", "arm", "label", "split_hash", "config_hash")
"""The tags of a trial's run; trials of old studies lack `config_hash`."""
UNSENT = ("epoch", "seconds", "ended_at", *map(rate_column, kind_names()))
"""The fields of a report that are not sent; rates follow from the run's parameters."""
SAME_AS_SCORE = ("_accuracy", "_hmean")
"""The endings of metrics that always equal the score, and so are not sent."""
TOTALS = ("epochs", "seconds")
"""The metrics of a whole trial, each with one value: fields of `study.storage.ledger.End`."""
OPENS_WITHIN = 120.0
"""How many seconds opening the study's own run may take, in about eight calls."""
BATCH = 900
"""How many metrics one call sends; MLflow accepts up to 1,000."""
STUDY_ARTIFACTS = (
    "study.yaml",
    "identity.json",
    "shots",
    CANDIDATES,
    "results.parquet",
    "leaderboard.csv",
    "leaderboard.md",
    CELLS,
    "ablation.csv",
    "ablation.md",
    "ablation.parquet",
    "report.html",
    "plots",
)
TRIAL_ARTIFACTS = ("config.json", *KEPT)


class RunWriter:
    """A writer of one study's runs; a mark in each trial's folder records what was sent.

    Making it connects, and finds or creates the experiment and the parent run.

    Args:
        study: the study.
        uri: the address of the tracking server or store.

    Raises:
        TrackingError: the server does not answer.
        StorageError: the study's folder cannot be read.
    """

    def __init__(self, study: Study, uri: str) -> None:
        self.study = study
        config, folder = study.config, study.folder
        self._uri = uri
        # MLflow's pages fetch all tags and parameters of a hundred runs at once. So a run has only
        # those that are shown, filtered by, or read by `study.tracking`; what all trials share is
        # in the parent run.
        identity = folder.read_identity()
        self._tags = {"study": folder.name, "study_id": identity["study_id"]}
        self._git_commit = identity["git_commit"]
        self._params = {
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "shots": str(config.data.shots),
        }
        self._listed: dict[str, Run] = {}
        """The known runs of trials that are sent again, by trial id."""
        self._perhaps_there = {trial.trial_id for trial in folder.trials()}
        """The trials that may have a run without a mark in their folder: the driver that created it
        died, or the server's answer was lost. Only these are searched for, since a search takes
        longer the more runs there are."""
        began = _written(folder.config_path, known=folder.path)
        self.client = self.reach()
        try:
            within(OPENS_WITHIN, lambda: self._open(began))
        except Exception as error:  # from MLflow, a database, its driver or the network
            raise TrackingError(
                f"the MLflow tracking server or store {redacted(uri)} does not take a run "
                f"({first_line(error)})"
            ) from None

    def reach(self) -> MlflowClient:
        """Return a client, after checking that the server answers.

        Raises:
            TrackingError: the server does not answer.
        """
        return connect(self._uri, self.study.config.tracking.experiment)

    def _open(self, began: int) -> None:
        """Find or create the experiment and the parent run, and send the parent's parameters."""
        config = self.study.config
        self.experiment_id = self._experiment(config.tracking.experiment)
        found = self._find("tags.study_parent = 'yes'")
        if found is None:
            found = self.client.create_run(
                self.experiment_id,
                start_time=began,
                run_name=self.study.folder.name,
                tags={
                    "stage": "study",
                    "study_parent": "yes",
                    "dataset": config.data.dataset,
                    "backbone": config.backbone.name,
                    "protocol": config.protocol,
                    "git_commit": self._git_commit,
                    **self._tags,
                },
            )
        elif found.info.status != "RUNNING":
            self.client.update_run(found.info.run_id, status="RUNNING")
        self.parent_id = str(found.info.run_id)
        values = _flat(config.model_dump(mode="json"))
        # The server may have gone before it had all of them. Those it has cannot change.
        params = [Param(k, v[:6000]) for k, v in values if k not in found.data.params]
        for at in range(0, len(params), 100):
            self.client.log_batch(self.parent_id, params=params[at : at + 100])

    def sync_trial(self, trial_id: str) -> None:
        """Send what a trial's folder holds and its run lacks.

        Raises:
            StorageError: the folder cannot be read or written.
        """
        folder = self.study.folder.trial(trial_id)
        trials = folder.path.parent
        if folder.read("config.json") is None:  # it has been renamed
            return
        mark = Mark.read(folder)
        if mark.parent_id != self.parent_id:  # it was sent to another server
            mark = Mark(parent_id=self.parent_id)
        # Read the end first: otherwise it might be written between the two reads, and the last
        # report would be missing.
        end, reports = folder.read_end(), folder.read_reports()
        if not mark.fits(reports, end):
            mark = self._replace(mark, folder)
        if mark.closed and mark.trial_id in ("", trial_id):
            return
        if mark.paused:
            self.client.update_run(mark.run_id, status="RUNNING")
            mark.paused = False
        config = folder.read_config()
        if not mark.run_id:
            began = _written(folder.path / "config.json", known=trials)
            mark.run_id, mark.began = self._trial_run(config, began)
        elif mark.trial_id not in ("", trial_id):
            self._retag(mark.run_id, config)
            mark.winner = False
        mark.trial_id = trial_id
        epochs = list(epoch_metrics(reports, mark.began))
        points = [metric for epoch in epochs[mark.reports :] for metric in epoch]
        for at in range(0, len(points), BATCH):
            self.client.log_batch(mark.run_id, metrics=points[at : at + BATCH])
        if end is not None:
            tags = {"stop_reason": end.reason or end.status}
            if end.error:
                error = redacted_text(end.error[-4000:])
                tags |= {"error": error, NOTE: f"```\n{error}\n```"}
            self.client.log_batch(
                mark.run_id,
                metrics=[Metric(key, getattr(end, key), mark.began, 0) for key in TOTALS],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            self._send_files(mark.run_id, folder.path, TRIAL_ARTIFACTS, known=trials)
            ended = _written(folder.path / "end.json", known=trials)
            self.client.set_terminated(mark.run_id, STATUS[end.status], end_time=ended)
        mark.note(reports, end)
        mark.write(folder)

    def send_again(self, trial_id: str, run: Run | None) -> None:
        """Mark a trial as unsent; ``run`` is its run, or None if MLflow has none."""
        Mark(parent_id=self.parent_id).write(self.study.folder.trial(trial_id))
        if run is not None:
            self._listed[trial_id] = run

    def _replace(self, mark: Mark, folder: TrialFolder) -> Mark:
        """Delete the run of a trial that was trained again, and return an empty mark for a new one.

        MLflow keeps every value of a metric at a step, so the old run would mix both trainings.
        """
        try:
            self.client.delete_run(mark.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        mark = Mark(parent_id=self.parent_id)
        mark.write(folder)
        return mark

    def _send_files(
        self, run_id: str, folder: Path, patterns: Sequence[str], *, known: Path
    ) -> None:
        """Send the files and folders in a folder whose names match one of the patterns.

        A copy is sent, since MLflow would treat a folder on missing storage as empty.
        """
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "copy"
            _copy(folder, copy, patterns, known=known)
            self.client.log_artifacts(run_id, str(copy))

    def close_study(self, *, finished: bool) -> None:
        """Attach the study's tables and report to the parent run, and end it."""
        place = self.study.folder.path
        self._send_files(self.parent_id, place, STUDY_ARTIFACTS, known=place)
        description = read_if_there(place, (place / DESCRIPTION).read_bytes, known=place)
        if description is not None:
            self.client.set_tag(self.parent_id, NOTE, description.decode())
        winners = self._winners()
        ends = []
        for trial in self.study.folder.trials():
            if trial.read("end.json") is not None:
                ends.append(_written(trial.path / "end.json", known=trial.path.parent))
            try:
                self._settle(trial, winner=trial.trial_id in winners)
            except Exception as error:  # MLflow refuses this run; go on with the others
                if not refused(error):
                    raise
        self.client.set_terminated(
            self.parent_id,
            "FINISHED" if finished else "KILLED",
            end_time=max(ends, default=None),
        )

    def _settle(self, trial: TrialFolder, *, winner: bool) -> None:
        """End the run of an interrupted trial, and mark the winner in the run's name."""
        mark = Mark.read(trial)
        if mark.run_id and not mark.closed:
            self.client.set_terminated(mark.run_id, "KILLED")
            mark.paused = True
            mark.write(trial)
        if mark.run_id and mark.winner != winner:
            self.client.update_run(mark.run_id, name=_run_name(trial.read_config(), winner=winner))
            mark.winner = winner
            mark.write(trial)

    def _winners(self) -> set[str]:
        """Return the trial that validation chose and its confirmations; nothing if at chance.

        The name has to show it: other trials may have the same score, and MLflow does not know
        which of them was chosen.
        """
        if (choice := Choice.read(self.study)) is None or choice.at_chance:
            return set()
        return {str(choice.candidate.source_trial), *(trial.trial_id for trial in choice.trials)}

    def _trial_run(self, config: Mapping[str, Any], began: int) -> tuple[str, int]:
        """Find or create a trial's run; return its id and its start time in milliseconds.

        A run may exist already, created by a driver that died before it wrote the mark.
        """
        trial_id, name, tags = config["trial_id"], _run_name(config), self.trial_tags(config)
        found = self._listed.pop(trial_id, None)
        if found is None and trial_id in self._perhaps_there:
            found = self._find(f"tags.trial_id = '{trial_id}'")
        if found is None:
            self._perhaps_there.add(trial_id)
            found = self.client.create_run(
                self.experiment_id, start_time=began, run_name=name, tags=tags
            )
        elif found.info.run_name != name or not found.data.tags.items() >= tags.items():
            self._retag(found.info.run_id, config)
        began = int(found.info.start_time)
        self.client.log_batch(
            found.info.run_id,
            metrics=[Metric("trainable", config["trainable"], began, 0)],
            params=[Param(key, value) for key, value in self.trial_params(config).items()],
        )
        return str(found.info.run_id), began

    def trial_tags(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the tags that a trial's run is created with."""
        tags = {PARENT: self.parent_id, **self._tags}
        tags |= {key: str(config[key]) for key in TRIAL_TAGS if key in config}
        return tags | ({"taken_from": config["taken_from"]} if config.get("taken_from") else {})

    def trial_params(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the parameters of a trial's run."""
        own = {**Settings.as_written(config).flat(), "seed": config["seed"]}
        return {key: str(value) for key, value in own.items() if value is not None} | self._params

    def _retag(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Update a run's name and tags after its trial was renamed."""
        self.client.update_run(run_id, name=_run_name(config))
        self.client.log_batch(
            run_id, tags=[RunTag(key, value) for key, value in self.trial_tags(config).items()]
        )

    def _find(self, condition: str) -> Run | None:
        runs = self.client.search_runs(
            [self.experiment_id],
            filter_string=f"tags.study_id = '{self._tags['study_id']}' and {condition}",
            max_results=1,
        )
        return runs[0] if runs else None

    def _experiment(self, name: str) -> str:
        if (found := self.client.get_experiment_by_name(name)) is None:
            try:
                return str(self.client.create_experiment(name, tags=experiment_tags()))
            except MlflowException:  # another study created it in between
                if (found := self.client.get_experiment_by_name(name)) is None:
                    raise
        return str(found.experiment_id)


def _run_name(config: Mapping[str, Any], *, winner: bool = False) -> str:
    name = f"{config['label']} ★" if winner else str(config["label"])
    return f"{name} · seed {config['seed']}" if config["stage"] == "confirm" else name


def _written(path: Path, *, known: Path) -> int:
    """Return when a file was written, in milliseconds, since results may be sent much later."""
    return int(with_retries(path, path.stat, known=known).st_mtime * 1000)


def files_that_fit(folder: Path, patterns: Sequence[str], *, known: Path) -> list[str]:
    """Return the sorted names in a folder that match a pattern; ``known``: see `with_retries`."""
    names = read_if_there(folder, lambda: os.listdir(folder), known=known)  # noqa: PTH208
    return sorted(n for n in names or () if any(fnmatch(n, pattern) for pattern in patterns))


def _copy(folder: Path, target: Path, patterns: Sequence[str], *, known: Path) -> None:
    """Copy what matches a pattern, with all that is in folders; wait for missing storage."""
    target.mkdir()
    for name in files_that_fit(folder, patterns, known=known):
        path = folder / name
        try:
            contents = read_if_there(path, path.read_bytes, known=known)
        except IsADirectoryError:
            _copy(path, target / name, ["*"], known=known)
        else:
            if contents is not None:
                (target / name).write_bytes(contents)


def epoch_metrics(reports: Iterable[dict[str, Any]], began: int) -> Iterator[list[Metric]]:
    """Yield each epoch's metrics.

    Their timestamps come from the reports. A driver may die before it marks metrics as sent, and
    they are then sent again: MLflow stores equal points once, so this changes nothing.

    Args:
        reports: the trial's epoch reports, from the first.
        began: the start of the trial's run, in milliseconds.
    """
    seconds = 0.0
    for report in reports:
        seconds += report["seconds"]
        yield [
            Metric(key, value, began + int(1000 * seconds), report["epoch"])
            for key, value in report.items()
            if key not in UNSENT and not key.endswith(SAME_AS_SCORE)
        ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and f"{prefix}{key}" not in ("tracking.uri", "name"):
            yield f"{prefix}{key}", str(value)
