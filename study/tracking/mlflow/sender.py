"""Send to a trial's run what the ledger has and the run lacks."""

from collections.abc import Collection

from mlflow.entities import RunTag

from study.selection.chance import balanced_score
from study.selection.choice import TEST_BALANCED, winners
from study.storage.trial_folder import RESULT_FILES, End
from study.tracking.mlflow import run_content, server
from study.tracking.mlflow.run_content import Reports
from study.tracking.mlflow.study_run import StudyRun
from study.tracking.mlflow.sync_state import TrialRecord, modified_at
from study.tracking.mlflow.trial_run import TrialRuns
from study.trial.predictions import confusion_of, read_predictions
from study.trial.study import Study

METRICS_PER_CALL = 900
"""The largest number of metrics that one call sends; MLflow accepts up to 1,000."""
TRIAL_ARTIFACTS = ("config.json", *RESULT_FILES)


class Sender:
    """Sends a study and its trials; a mark in each trial's folder records what was sent.

    Args and errors are those of `StudyRun`.
    """

    def __init__(self, study: Study, uri: str) -> None:
        self.study = study
        self.study_run = StudyRun(study, uri)
        self.trial_runs = TrialRuns(self.study_run)
        self.client = self.study_run.client

    def send_trial(self, trial_id: str) -> None:
        """Send what a trial's folder holds and its run lacks.

        Raises:
            StorageError: the folder cannot be read or written.
        """
        record = TrialRecord.from_folder(self.study.folder.trial(trial_id), self.study_run.run_id)
        if not record or record.is_sent:
            return
        scored = add_balanced_score(self.study, record)
        config = record.config
        end = record.end
        metrics = run_content.trial_metrics(config, scored, end, start_time=0)
        has_metrics = end is not None or run_content.has_first_metric(config, record.reports)
        tags = {}
        if end is not None:
            tags = run_content.end_tags(config, record.reports, end)
        present = self.trial_runs.open_run(record, {run_content.point_key(m) for m in metrics})
        if has_metrics:
            self._send_metrics(record, scored, present)
        if end is not None:
            self._send_end(record, end, tags)
        if has_metrics:
            record.mark.record_sent(record.reports, end)
        record.mark.write_to(record.folder)

    def _send_metrics(
        self, record: TrialRecord, scored: Reports, present: Collection[run_content.PointKey]
    ) -> None:
        """Send the metrics of a trial that its run lacks.

        Args:
            record: the trial.
            scored: its reports, with the scores that are computed from predictions.
            present: the metrics that the run may have beyond those in the mark.
        """
        mark = record.mark
        points = run_content.trial_metrics(
            record.config, scored, record.end, mark.began, mark.reports
        )
        missing = [point for point in points if run_content.point_key(point) not in present]
        for start in range(0, len(missing), METRICS_PER_CALL):
            self.client.log_batch(mark.run_id, metrics=missing[start : start + METRICS_PER_CALL])

    def _send_end(self, record: TrialRecord, end: End, tags: run_content.Tags) -> None:
        """Send the artifacts and tags of a trial that has ended, and end its run."""
        run_id = record.mark.run_id
        folder = record.folder.path
        server.send_files(self.client, run_id, folder, TRIAL_ARTIFACTS, existing=folder.parent)
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        self.client.log_batch(run_id, tags=run_tags)
        end_time = modified_at(folder / "end.json", existing=folder.parent)
        status = run_content.STATUS[end.status]
        self.client.set_terminated(run_id, status, end_time=end_time)

    def close_study(self, *, finished: bool) -> None:
        """Send the study's tables and report, mark the runs of what was chosen, and end all runs.

        The marks are in names of runs, since other trials may have the same score.

        Args:
            finished: whether the study ran to its end.
        """
        self.study_run.attach_results()
        winner_ids = winners(self.study)
        for trial in self.study.folder.trials():
            try:
                self.trial_runs.close_run(trial, winner=trial.trial_id in winner_ids)
            except Exception as error:  # MLflow may refuse one run, which does not stop the others
                if not server.is_refusal(error):
                    raise
        self.study_run.close(finished=finished)


def add_balanced_score(study: Study, record: TrialRecord) -> Reports:
    """Return a trial's reports, with the balanced score added to the report of a test.

    The score is computed from the predictions, which are written before the report.
    """
    reports = record.reports
    if not reports or run_content.TEST_SCORE not in reports[-1]:
        return reports
    confusion = confusion_of(read_predictions(study.folder, record.trial_id))
    balanced = balanced_score(confusion, study.protocol)
    if balanced is None:
        return reports
    return [*reports[:-1], {**reports[-1], TEST_BALANCED: balanced}]
