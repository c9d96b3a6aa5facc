"""What the ledger has of a trial and its run lacks, and the sending of it."""

from collections.abc import Callable, Collection

from mlflow.entities import RunTag

from study.selection.chance import balanced_score
from study.selection.choice import TEST_BALANCED
from study.storage.trial_folder import RESULT_FILES
from study.tracking.mlflow import run_content, server
from study.tracking.mlflow.run_content import Reports
from study.tracking.mlflow.study_run import StudyRun
from study.tracking.mlflow.sync_state import TrialRecord, written_at
from study.tracking.mlflow.trial_run import TrialRuns
from study.trial.predictions import confusion_of, read_predictions
from study.trial.study import Study

BATCH = 900
"""How many metrics one call sends; MLflow accepts up to 1,000."""
TRIAL_ARTIFACTS = ("config.json", *RESULT_FILES)


class Sender:
    """What sends a study and its trials; a mark in each trial's folder records what was sent.

    Args:
        study: the study.
        uri: the address of the tracking server or store.

    Raises:
        TrackingError: the server does not answer.
        StorageError: the study's folder cannot be read.
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
        record = TrialRecord.read(self.study.folder.trial(trial_id), self.study_run.run_id)
        if record is None or record.is_sent:
            return
        scored = with_balanced(self.study, record)
        wanted = run_content.trial_metrics(record.config, scored, record.end, began=0)
        there = self.trial_runs.open_run(record, set(map(run_content.place, wanted)))
        self._send(record, scored, there)

    def _send(
        self, record: TrialRecord, scored: Reports, there: Collection[run_content.Place]
    ) -> None:
        """Send the metrics of a trial that its run lacks, and its end; mark what was sent.

        Args:
            record: the trial.
            scored: its reports, with the scores that follow from predictions.
            there: the metrics that its run may have beyond what the mark says.
        """
        config, end, mark, folder = record.config, record.end, record.mark, record.folder
        if end is not None or run_content.has_begun(config, record.reports):
            points = run_content.trial_metrics(config, scored, end, mark.began, mark.reports)
            lacking = [point for point in points if run_content.place(point) not in there]
            for at in range(0, len(lacking), BATCH):
                self.client.log_batch(mark.run_id, metrics=lacking[at : at + BATCH])
            mark.note(record.reports, end)
        if end is not None:
            known = folder.path.parent
            server.send_files(self.client, mark.run_id, folder.path, TRIAL_ARTIFACTS, known=known)
            tags = run_content.end_tags(config, record.reports, end)
            self.client.log_batch(mark.run_id, tags=[RunTag(k, v) for k, v in tags.items()])
            ended = written_at(folder.path / "end.json", known=known)
            status = run_content.STATUS[end.status]
            self.client.set_terminated(mark.run_id, status, end_time=ended)
        mark.write(folder)

    def close_study(
        self, *, finished: bool, winners: Callable[[], Collection[str]] = tuple
    ) -> None:
        """Send the study's tables and report, and end its runs.

        Args:
            finished: whether the study ran to its end.
            winners: a function that returns the ids of the trials whose names have to show that
                they were chosen: others may have the same score, and MLflow does not know which of
                them it was. It reads confirmations, and so is called after everything is sent.
        """
        self.study_run.attach_results()
        chosen = winners()
        for trial in self.study.folder.trials():
            try:
                self.trial_runs.settle(trial, winner=trial.trial_id in chosen)
            except Exception as error:  # MLflow refuses this run; go on with the others
                if not server.refused(error):
                    raise
        self.study_run.close(finished=finished)


def with_balanced(study: Study, record: TrialRecord) -> Reports:
    """Return a trial's reports, that of a test with the balanced score.

    That follows from the predictions, which are there before the report is.
    """
    reports = record.reports
    if not reports or run_content.TEST_SCORE not in reports[-1]:
        return reports
    confusion = confusion_of(read_predictions(study.folder, record.trial_id))
    balanced = balanced_score(confusion, study.protocol())
    if balanced is None:
        return reports
    return [*reports[:-1], {**reports[-1], TEST_BALANCED: balanced}]
