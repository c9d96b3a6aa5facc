"""A study's runs: one parent run, and one child per trial. Writing twice changes nothing."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import pandas as pd
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from study.config.settings import Settings, rate_column
from study.errors import redacted_text
from study.method.parameters import kind_names
from study.storage.atomic import read_if_there, sha256_of, with_retries
from study.storage.ledger import CANDIDATES, CELLS, DESCRIPTION, KEPT, End, TrialFolder
from study.tracking.mlflow import internals, server
from study.trial.study import Study

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
TRIAL_TAGS = ("trial_id", "stage", "arm", "label", "split_hash", "config_hash", "taken_from")
"""The tags of a trial's run, as far as the trial has a value of that name."""
UNSENT = {"epoch", "seconds", "ended_at", "folds", *map(rate_column, kind_names())}
"""The fields of a report that are not sent; rates follow from the run's parameters."""
SAME_AS_SCORE = ("_accuracy", "_hmean")
"""The ends of the names of further fields that are not sent, as they always equal the score."""
PEER = "peer_"
"""The beginning of the names of the parameters that only a trial of a peer has."""
TOTALS = ("epochs", "seconds")
"""The metrics of a whole trial, each with one value: fields of `study.storage.ledger.End`."""
LONGEST_NOTE = 8000
"""The most characters of a description; MLflow cuts a longer one wherever that is."""
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
    "interactions.csv",
    "interactions.parquet",
    "report.html",
    "plots",
)
TRIAL_ARTIFACTS = ("config.json", *KEPT)
MARK = "mlflow.json"
"""The name of the file in each trial's folder that records what was sent."""


@dataclass
class Mark:
    """The run of a trial, and how much of the trial was sent to it."""

    parent_id: str = ""
    """The id of the study's own run."""
    run_id: str = ""
    """The id of the trial's run; empty if nothing was sent."""
    trial_id: str = ""
    """The trial's id when it was sent; a trial may be renamed later."""
    began: int = 0
    """When the run started, in milliseconds; the metrics' timestamps count from here."""
    reports: int = 0
    """The number of epochs that were sent."""
    closed: bool = False
    """Whether the end and the artifacts were sent."""
    paused: bool = False
    """Whether the run was ended because the study stopped before this trial finished."""
    winner: bool = False
    """Whether the run's name marks it as the choice of validation."""
    digest: str = ""
    """The SHA-256 of the epochs and the end that were sent; empty in marks of earlier versions."""

    @classmethod
    def read(cls, folder: TrialFolder, parent_id: str) -> Self:
        """Read a trial's mark; return an empty one if it is missing, damaged or of another server.

        Args:
            folder: the trial's folder.
            parent_id: the id of the study's own run, to which a trial was sent if its mark counts.

        Raises:
            StorageError: the folder cannot be read.
        """
        try:
            mark = cls(**json.loads(folder.read(MARK) or b"{}"))
        except (ValueError, TypeError):
            mark = cls()
        return mark if mark.parent_id == parent_id else cls(parent_id=parent_id)

    def write(self, folder: TrialFolder) -> None:
        """Write the mark into a trial's folder.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder.write(MARK, json.dumps(asdict(self)))

    def note(self, reports: Sequence[Mapping[str, Any]], end: End | None) -> None:
        """Record in this mark that these epochs, and the end if there is one, were sent."""
        self.reports, self.closed = len(reports), end is not None
        self.digest = _digest(reports, end)

    def fits(self, reports: Sequence[Mapping[str, Any]], end: End | None) -> bool:
        """Return whether the trial still begins with what was sent; more may have been added.

        The answer is no for a trial that was trained again.
        """
        sent = _digest(reports[: self.reports], end if self.closed else None)
        return not (self.closed and end is None) and self.digest in ("", sent)


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
        self.study, self.uri = study, uri
        config, folder = study.config, study.folder
        # MLflow's pages fetch all tags and parameters of a hundred runs at once. So a run has only
        # those that are shown, filtered by, or read by `study.tracking`; what all trials share is
        # in the parent run.
        identity = folder.read_identity()
        self._tags = {"study": folder.name, "study_id": identity["study_id"]}
        self.own_runs = f"tags.study_id = '{identity['study_id']}'"
        self._params = {
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "shots": str(config.data.shots),
        }
        self._perhaps_there = dict[str, Run | None].fromkeys(t.trial_id for t in folder.trials())
        """The trials that may have a run without a mark in their folder, with the run if it is
        known: the driver that created it died, or the server's answer was lost. Only these are
        searched for, since a search takes longer the more runs there are."""
        began = _written(folder.config_path, known=folder.path)
        self.client = server.connect(uri, config.tracking.experiment)
        server.ask(
            server.SEVERAL_WITHIN,
            lambda: self._open(began, identity["git_commit"]),
            f"the MLflow tracking server or store {server.redacted(uri)} does not take a run",
        )

    def _open(self, began: int, git_commit: str) -> None:
        """Find or create the experiment and the parent run, and send the parent's parameters."""
        config = self.study.config
        self.experiment_id = self._experiment(config.tracking.experiment)
        if (found := self._find("tags.study_parent = 'yes'")) is None:
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
                    "git_commit": git_commit,
                    **self._tags,
                },
            )
        elif found.info.status != "RUNNING":
            self.client.update_run(found.info.run_id, status="RUNNING")
        self.parent_id = str(found.info.run_id)
        (values,) = pd.json_normalize(config.model_dump(mode="json")).to_dict("records")
        # The server may have gone before it had all of them. Those it has cannot change.
        known = {"tracking.uri", "name", *found.data.params}
        params = [
            Param(key, str(value)[:6000])
            for key, value in values.items()
            if value is not None and key not in known
        ]
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
        mark = Mark.read(folder, self.parent_id)
        # Read the end first: otherwise it might be written between the two reads, and the last
        # report would be missing.
        end, reports = folder.read_end(), folder.read_reports()
        if not mark.fits(reports, end):
            self._delete(mark.run_id)
            self.send_again(trial_id, {})
            mark = Mark(parent_id=self.parent_id)
        if mark.closed and mark.trial_id in ("", trial_id):
            return
        if mark.paused:
            self.client.update_run(mark.run_id, status="RUNNING")
            mark.paused = False
        config = folder.read_config()
        if not mark.run_id:
            mark.run_id, mark.began = self._trial_run(
                config, _written(folder.path / "config.json", known=trials)
            )
        elif mark.trial_id not in ("", trial_id):
            self._retag(mark.run_id, config)
            mark.winner = False
        mark.trial_id = trial_id
        points = epoch_metrics(reports, mark.began, mark.reports)
        for at in range(0, len(points), BATCH):
            self.client.log_batch(mark.run_id, metrics=points[at : at + BATCH])
        if end is not None:
            error = redacted_text((end.error or "")[-4000:])
            tags = {
                "stop_reason": end.reason or end.status,
                "error": error,
                MLFLOW_RUN_NOTE: error and f"```\n{error}\n```",
            }
            self.client.log_batch(
                mark.run_id,
                metrics=[Metric(key, getattr(end, key), mark.began, 0) for key in TOTALS],
                tags=[RunTag(key, value) for key, value in tags.items() if value],
            )
            server.send_files(self.client, mark.run_id, folder.path, TRIAL_ARTIFACTS, known=trials)
            self.client.set_terminated(
                mark.run_id,
                STATUS[end.status],
                end_time=_written(folder.path / "end.json", known=trials),
            )
        mark.note(reports, end)
        mark.write(folder)

    def send_again(self, trial_id: str, listed: Mapping[str, Run]) -> None:
        """Mark a trial as unsent.

        Args:
            trial_id: the trial's id.
            listed: the runs that MLflow has, by their ids; that of the trial may be among them.
        """
        folder = self.study.folder.trial(trial_id)
        self._perhaps_there[trial_id] = listed.get(Mark.read(folder, self.parent_id).run_id)
        Mark(parent_id=self.parent_id).write(folder)

    def _delete(self, run_id: str) -> None:
        """Delete the run of a trial that was trained again, which gets a new one.

        MLflow keeps every value of a metric at a step, so the old run would mix both trainings.
        """
        try:
            self.client.delete_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def close_study(
        self, *, finished: bool, winners: Callable[[], Collection[str]] = tuple
    ) -> None:
        """Attach the study's tables and report to the parent run, and end it.

        Args:
            finished: whether the study ran to its end.
            winners: a function that returns the ids of the trials whose names have to show that
                they were chosen: others may have the same score, and MLflow does not know which of
                them it was. It reads confirmations, and so is called after everything is sent.
        """
        place, trials = self.study.folder.path, list(self.study.folder.trials())
        server.send_files(self.client, self.parent_id, place, STUDY_ARTIFACTS, known=place)
        description = read_if_there(place, (place / DESCRIPTION).read_bytes, known=place)
        if description is not None:
            self.client.set_tag(self.parent_id, MLFLOW_RUN_NOTE, shortened(description.decode()))
        chosen = winners()
        for trial in trials:
            try:
                self._settle(trial, winner=trial.trial_id in chosen)
            except Exception as error:  # MLflow refuses this run; go on with the others
                if not server.refused(error):
                    raise
        ended = [trial.path / "end.json" for trial in trials if trial.read("end.json") is not None]
        self.client.set_terminated(
            self.parent_id,
            "FINISHED" if finished else "KILLED",
            end_time=max((_written(path, known=place / "trials") for path in ended), default=None),
        )

    def _settle(self, trial: TrialFolder, *, winner: bool) -> None:
        """End the run of an interrupted trial, and mark the winner in the run's name."""
        mark = Mark.read(trial, self.parent_id)
        if mark.run_id and not mark.closed:
            self.client.set_terminated(mark.run_id, "KILLED")
            mark.paused = True
            mark.write(trial)
        if mark.run_id and mark.winner != winner:
            self.client.update_run(mark.run_id, name=_run_name(trial.read_config(), winner=winner))
            mark.winner = winner
            mark.write(trial)

    def _trial_run(self, config: Mapping[str, Any], began: int) -> tuple[str, int]:
        """Find or create a trial's run; return its id and its start time in milliseconds.

        A run may exist already, created by a driver that died before it wrote the mark.
        """
        trial_id, name, tags = config["trial_id"], _run_name(config), self.trial_tags(config)
        found = self._perhaps_there.get(trial_id)
        if found is None and trial_id in self._perhaps_there:
            found = self._find(f"tags.trial_id = '{trial_id}'")
        self._perhaps_there[trial_id] = None
        if found is None:
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
        return {
            MLFLOW_PARENT_RUN_ID: self.parent_id,
            **self._tags,
            **{key: str(config[key]) for key in TRIAL_TAGS if config.get(key) is not None},
        }

    def trial_params(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the parameters of a trial's run."""
        settings = Settings.as_written(config)
        # The values that `flat` has no columns for: only with them can the trial be repeated.
        peer = settings.peer.model_dump(exclude={"method"}) if settings.peer else {}
        own = {
            **settings.flat(),
            **{f"{PEER}{name}": value for name, value in peer.items()},
            "seed": config["seed"],
        }
        if not settings.calibration:  # nearly no trial has any
            del own["calibration"]
        return {key: str(value) for key, value in own.items() if value is not None} | self._params

    def _retag(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Update a run's name and tags after its trial was renamed."""
        self.client.update_run(run_id, name=_run_name(config))
        self.client.log_batch(
            run_id, tags=[RunTag(key, value) for key, value in self.trial_tags(config).items()]
        )

    def _find(self, condition: str) -> Run | None:
        found = self.client.search_runs(
            [self.experiment_id],
            filter_string=f"{self.own_runs} and {condition}",
            max_results=1,
        )
        return next(iter(found), None)

    def _experiment(self, name: str) -> str:
        if (found := self.client.get_experiment_by_name(name)) is None:
            try:
                return str(self.client.create_experiment(name, tags=internals.experiment_tags()))
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


def shortened(description: str) -> str:
    """Return a description that MLflow takes, less the last paragraphs and tables if need be."""
    if len(description) <= LONGEST_NOTE:
        return description
    rest = "The rest is in `report.html` among this run's artifacts."
    kept = description[: LONGEST_NOTE - len(f"\n\n{rest}")].split("\n\n")[:-1]
    while kept and kept[-1].startswith("#"):  # a heading, whose table is left out
        kept.pop()
    return "\n\n".join([*kept, rest])


def epoch_metrics(reports: Sequence[dict[str, Any]], began: int, sent: int = 0) -> list[Metric]:
    """Return the metrics of a trial's epochs.

    Their timestamps come from the reports. A driver may die before it marks metrics as sent, and
    they are then sent again: MLflow stores equal points once, so this changes nothing.

    Args:
        reports: the trial's epoch reports, from the first.
        began: the start of the trial's run, in milliseconds.
        sent: the number of first epochs whose metrics are left out.
    """
    ends = list(accumulate(report["seconds"] for report in reports))
    return [
        Metric(key, value, began + int(1000 * end), report["epoch"])
        for report, end in zip(reports[sent:], ends[sent:], strict=True)
        for key, value in report.items()
        if key not in UNSENT and not key.endswith(SAME_AS_SCORE)
    ]


def _digest(reports: Sequence[Mapping[str, Any]], end: End | None) -> str:
    """Hash the epochs and the sent fields of the end; new fields of `End` do not count."""
    totals = [] if end is None else [end.status, end.epochs, end.seconds, end.reason]
    return sha256_of(json.dumps([*reports, totals], sort_keys=True).encode())
