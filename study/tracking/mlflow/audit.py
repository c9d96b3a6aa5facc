"""Checks that MLflow holds what was sent: it may lose runs, or accept a call and do nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow.entities import Run

from study.errors import TrackingError
from study.storage.ledger import End, LedgerError, TrialFolder
from study.tracking.mlflow.marks import Mark
from study.tracking.mlflow.runs import (
    STATUS,
    TOTALS,
    TRIAL_ARTIFACTS,
    RunWriter,
    epoch_metrics,
    files_that_fit,
)
from study.tracking.mlflow.server import all_runs, refused
from study.tracking.tracker import first_line


class Audit:
    """A comparison of a study's trials with the runs that MLflow lists.

    Args:
        writer: the writer of the study's runs.

    Raises:
        TrackingError: the server does not return the runs.
    """

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._folder = folder = writer.study.folder
        try:
            condition = f"tags.study_id = '{folder.read_identity()['study_id']}'"
            runs = all_runs(writer.client, [writer.experiment_id], condition)
            self.runs = {run.info.run_id: run for run in runs}
        except Exception as error:  # from MLflow, a database, its driver or the network
            raise TrackingError(
                f"MLflow does not give the runs of study '{folder.name}' ({first_line(error)})"
            ) from None

    def run_of(self, trial_id: str) -> Run | None:
        """Return the run that a trial was sent to; None if MLflow no longer has it."""
        return self.runs.get(Mark.read(self._folder.trial(trial_id)).run_id)

    def lacking(self, trials: Iterable[str]) -> dict[str, str]:
        """Return, for each trial marked as sent, what MLflow lacks; "" means nothing.

        Trials that have changed since they were sent are left out: they are sent again anyway.

        Raises:
            TrackingError: the server no longer answers.
            StorageError: the study's folder cannot be read.
        """
        found = {}
        for trial_id in trials:
            trial = self._folder.trial(trial_id)
            mark = Mark.read(trial)
            try:
                config, end, reports = trial.read_config(), trial.read_end(), trial.read_reports()
            except LedgerError:  # reported when the trial is sent
                continue
            sent_here = mark.run_id and mark.parent_id == self._writer.parent_id
            if not sent_here or mark.trial_id not in ("", trial_id) or not mark.fits(reports, end):
                continue
            try:
                found[trial_id] = self._lack(
                    trial, config, reports[: mark.reports], end if mark.closed else None
                )
            except Exception as error:  # from MLflow, a database, its driver or the network
                found[trial_id] = first_line(error)
                if not refused(error):
                    self._writer.reach()
        return found

    def _lack(
        self,
        trial: TrialFolder,
        config: Mapping[str, Any],
        reports: Sequence[dict[str, Any]],
        end: End | None,
    ) -> str:
        """Return what was sent and is missing in the run, its end and artifacts included."""
        if (run := self.run_of(trial.trial_id)) is None:
            return "its run is not there"
        if end is not None and run.info.status != STATUS[end.status]:
            return f"its run is {run.info.status}, not {STATUS[end.status]}"
        data = run.data
        points = Counter(m.key for epoch in epoch_metrics(reports, 0) for m in epoch)
        wanted = {
            "tags": self._writer.trial_tags(config).items() - data.tags.items(),
            "parameters": self._writer.trial_params(config).items() - data.params.items(),
            "metrics": {"trainable", *points, *(TOTALS if end else ())} - data.metrics.keys(),
        }
        lacking = [name for name, values in wanted.items() if values]
        run_id, client = run.info.run_id, self._writer.client
        for key, count in points.most_common(1):
            if len({point.step for point in client.get_metric_history(run_id, key)}) < count:
                lacking.append("epochs")
        if end is not None:
            names = files_that_fit(trial.path, TRIAL_ARTIFACTS, known=trial.path.parent)
            there = {artifact.path for artifact in client.list_artifacts(run_id)}
            lacking += [name for name in names if name not in there]
        return f"its run lacks {', '.join(lacking)}" if lacking else ""
