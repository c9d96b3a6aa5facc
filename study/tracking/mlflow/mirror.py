"""Send to MLflow what the ledger holds and MLflow lacks, by a thread or by one call afterwards.

Training never waits for the thread. What could not be sent stays marked as unsent in the ledger. It
is sent when the server is back, or by ``clipfit-study sync NAME``, which also finds what MLflow
lost, or accepted without storing it. Sending twice changes nothing.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from mlflow.entities import DatasetInput, Run

from study.errors import StudyError, TrackingError
from study.storage import atomic
from study.storage.ledger_files import LedgerError
from study.storage.time_limit import call_within
from study.storage.trial_folder import End
from study.tracking.mlflow import registry, run_content, server
from study.tracking.mlflow.sender import TRIAL_ARTIFACTS, Sender, add_balanced_score
from study.tracking.mlflow.sync_state import TrialRecord
from study.tracking.tracker import Reasons, SyncResult, describe_unsent, summarize_error
from study.trial.study import Study

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""The pause after a failed call, before the next one."""
FINAL_SECONDS = 60.0
"""How long the end of a study waits for a server that accepts nothing."""
LONGEST_SECONDS = 600.0
"""How long the end of a study waits for a slow server that still accepts what is sent."""
STUDY_RUN = "the study's own run"
"""The key of the study's own run in a mapping of trial ids."""
LEDGER = "the study's trials"
"""The entry of the queue that asks to check all trials."""
NOT_SENT = "not sent yet"


class Mirror:
    """A thread that sends a study's trials to MLflow, first what an earlier driver left unsent.

    A trial that MLflow refuses is not sent again until it changes. If sending fails for another
    reason, such as a server that is down, the trial is sent again later, after the others.

    Args:
        sender: the sender of the study's trials.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._changed: queue.Queue[str | None] = queue.Queue()
        self._unsent: Reasons = {}
        """The trials to send, the next one first, with the reasons why they are not sent yet."""
        self.refused: Reasons = {}
        """The trials that MLflow refused, with the reasons; they wait until they change."""
        self._lost: Reasons = {}
        """The trials whose files could not be read while the study closed, with the reasons."""
        self._closing = False
        self._settled = 0
        """The number of attempts that need no repetition: accepted, refused, or without files."""
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self.send()
        self._thread.start()

    def send(self, trial_id: str = LEDGER) -> None:
        """Request that a changed trial is sent; without an id, that all trials are checked."""
        self._changed.put(trial_id)

    def drain(self) -> Reasons:
        """Send the rest while the server accepts it, then stop; return what is still unsent."""
        if self._stop.is_set():
            return self._unsent | self._lost
        self._changed.put(None)
        deadline = time.monotonic() + LONGEST_SECONDS
        before = -1
        while self._thread.is_alive() and self._settled > before:
            before = self._settled
            remaining = max(0.0, deadline - time.monotonic())
            self._thread.join(min(FINAL_SECONDS, remaining))
        self._stop.set()
        with suppress(queue.Empty):
            for trial_id in iter(self._changed.get_nowait, None):  # None is the request to close
                self._unsent.setdefault(trial_id, NOT_SENT)
        if not self._unsent:
            self._thread.join()
        return self._unsent | self._lost

    def _work(self) -> None:
        """Send changed trials until asked to close, and then every trial that is not sent."""
        while not self._stop.is_set() and (self._unsent or not self._closing):
            try:
                trial_id = self._changed.get(block=not self._unsent)
            except queue.Empty:  # only now, so that several changes of a trial are sent together
                is_ledger_next = self._unsent.get(LEDGER) == NOT_SENT
                self._send(LEDGER if is_ledger_next else next(iter(self._unsent)))
            else:
                if trial_id is None:
                    self._closing = True
                    trial_id = LEDGER
                self._unsent.setdefault(trial_id, NOT_SENT)

    def _send(self, trial_id: str) -> None:
        try:
            if trial_id == LEDGER:
                for trial in self._sender.study.folder.trials():
                    self._unsent.setdefault(trial.trial_id, NOT_SENT)
            else:
                self._sender.send_trial(trial_id)
        except Exception as error:  # no answer of a server may stop the study
            if server.is_refusal(error):
                self._handle_refusal(trial_id, error)
            else:
                self._handle_failure(trial_id, error)
        else:
            self._handle_success(trial_id)

    def _handle_success(self, trial_id: str) -> None:
        del self._unsent[trial_id]
        self.refused.pop(trial_id, None)
        self._lost.pop(trial_id, None)
        self._settled += 1
        if self._failing and set(self._unsent.values()) <= {NOT_SENT}:
            logger.warning("MLflow takes results again")
            self._failing = False

    def _handle_refusal(self, trial_id: str, error: Exception) -> None:
        """Set a trial aside until it changes, and warn of the first one."""
        reason = summarize_error(error)
        del self._unsent[trial_id]
        if not self.refused:
            message = "MLflow refuses %s, the others go on: %s"
            if isinstance(error, StudyError):
                message = "%s cannot be sent to MLflow, the others go on: %s"
            logger.warning(message, trial_id, reason)
        self.refused[trial_id] = reason
        self._settled += 1

    def _handle_failure(self, trial_id: str, error: Exception) -> None:
        """Put a trial behind the others, and pause; warn of the first failure."""
        reason = summarize_error(error)
        is_storage_missing = isinstance(error, atomic.StorageError)
        del self._unsent[trial_id]
        if self._closing and is_storage_missing:
            # The call has waited for as long as the study waits for storage.
            self._lost[trial_id] = reason
            self._settled += 1
        else:
            self._unsent[trial_id] = reason
        if not self._failing:
            message = "MLflow does not take results: %s"
            if is_storage_missing:
                message = "results are not sent to MLflow until storage is back: %s"
            logger.warning(message, reason)
        self._failing = True
        if self._unsent.get(trial_id):
            self._stop.wait(RETRY_SECONDS)


def sync_to_mlflow(
    study: Study, uri: str, write_outputs: Callable[[], object] = lambda: None
) -> SyncResult:
    """Send everything that MLflow lacks, and wait for each answer without a time limit.

    Trials sent earlier and trials sent now are both compared with the runs that MLflow lists.

    Args:
        study: the study.
        uri: the address of the tracking server or store.
        write_outputs: writes the tables and the report again; they name the registered winner.

    Raises:
        TrackingError: the server does not answer, or MLflow still lacks the trials in the message.
        StorageError: the study's folder cannot be read or written.
    """
    folder = study.folder
    sender = Sender(study, uri)
    trials = [trial.trial_id for trial in folder.trials()]
    listed = list_runs(sender)
    missing = find_missing(sender, listed, trials)
    incomplete = [trial_id for trial_id, text in missing.items() if text]
    for trial_id in incomplete:
        sender.mark_unsent(folder.trial(trial_id), listed)
    failed = _call_for_each(sender, trials, sender.send_trial)
    unsent = _call_for_each(sender, failed, sender.send_trial)
    lacked = [trial_id for trial_id in trials if missing.get(trial_id) != ""]
    sent = [trial_id for trial_id in lacked if trial_id not in unsent]
    if sent:
        still_missing = find_missing(sender, list_runs(sender), sent)
        unsent |= {trial_id: text for trial_id, text in still_missing.items() if text}
    finished = folder.is_complete()
    registration = folder.read_registration()
    if finished:  # an unfinished study may still get another winner, or more seeds
        registry.register_or_warn(sender.study_run, {}, wait=None)
    if folder.read_registration() != registration:
        write_outputs()
    unsent |= close_study(sender, finished=finished, wait=None)
    if unsent:
        raise TrackingError(
            f"of study '{folder.name}', MLflow lacks {describe_unsent(unsent, len(unsent))}"
        )
    return SyncResult(len(trials), len(incomplete))


def list_runs(sender: Sender) -> dict[str, Run]:
    """Return the runs that MLflow has of a study, by their ids.

    Raises:
        TrackingError: the server does not return the runs.
    """
    runs = server.call_mlflow(
        None,
        sender.study_run.search,
        f"MLflow does not give the runs of study '{sender.study.folder.name}'",
    )
    return {run.info.run_id: run for run in runs}


def find_missing(sender: Sender, listed: Mapping[str, Run], trials: Iterable[str]) -> Reasons:
    """Describe, for each trial marked as sent, what MLflow lacks; "" means nothing.

    Trials that have changed since they were sent are left out: they are sent again anyway.

    Args:
        sender: the sender of the study's trials.
        listed: the result of `list_runs`.
        trials: the ids of the trials.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read.
    """
    return _call_for_each(sender, trials, partial(_describe_missing, sender, listed))


def _describe_missing(sender: Sender, listed: Mapping[str, Run], trial_id: str) -> str | None:
    """Describe what was sent of a trial and is missing; see `find_missing`."""
    trial = sender.study.folder.trial(trial_id)
    try:
        record = TrialRecord.from_folder(trial, sender.study_run.run_id)
        if not record or not record.mark.run_id:
            return None
        _ = record.config  # read here, since it may be damaged
    except LedgerError:  # reported when the trial is sent
        return None
    run = listed.get(record.mark.run_id)
    if run is None:
        return "its run is not there"
    if not record.matches_mark:
        return None
    end = record.end if record.mark.closed else None
    if end is not None and run.info.status != run_content.STATUS[end.status]:
        return f"its run is {run.info.status}, not {run_content.STATUS[end.status]}"
    parts = _missing_parts(sender, record, run, end)
    return f"its run lacks {', '.join(parts)}" if parts else ""


def _missing_parts(sender: Sender, record: TrialRecord, run: Run, end: End | None) -> list[str]:
    """Return the names of the parts that were sent for a trial but are missing in its run.

    Args:
        sender: the sender of the study's trials.
        record: the trial.
        run: the trial's run.
        end: the end of the trial, if it was sent.
    """
    config, mark = record.config, record.mark
    try:
        scored = add_balanced_score(sender.study, record)
    except LedgerError:  # of damaged predictions no score can be sent again
        scored = record.reports
    sent_points = []
    if mark.reports or end:
        sent_points = run_content.trial_metrics(config, scored[: mark.reports], end, start_time=0)
    point_counts = Counter(point.key for point in sent_points)
    tags = sender.tags(config)
    reports: run_content.Reports = ()
    if end:
        tags[run_content.ENDED] = end.status
        reports = record.reports
    sent_datasets = _dataset_keys(sender.inputs(config))
    missing = {
        "tags": tags.items() - run.data.tags.items(),
        "parameters": sender.params(config, reports).items() - run.data.params.items(),
        "metrics": point_counts.keys() - run.data.metrics.keys(),
        "datasets": sent_datasets - _dataset_keys(run.inputs.dataset_inputs),
    }
    parts = [name for name, values in missing.items() if values]
    for key, count in point_counts.most_common(1):  # one metric suffices: one call a trial
        history = sender.client.get_metric_history(mark.run_id, key)
        if len({point.step for point in history}) < count:
            parts.append("epochs")
    if end:
        folder = record.folder.path
        files = server.matching_files(folder, TRIAL_ARTIFACTS, existing=folder.parent)
        artifacts = {artifact.path for artifact in sender.client.list_artifacts(mark.run_id)}
        parts += [name for name in files if name not in artifacts]
    return parts


def _dataset_keys(inputs: Iterable[DatasetInput]) -> set[tuple[str, str]]:
    """Return the names and digests of datasets."""
    return {(item.dataset.name, item.dataset.digest) for item in inputs}


def _call_for_each(
    sender: Sender, trials: Iterable[str], call: Callable[[str], str | None]
) -> Reasons:
    """Return the texts that a call returned for trials, or the reasons why it failed.

    Trials for which the call returned None are left out.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read or written.
    """
    texts = {}
    for trial_id in trials:
        try:
            text = call(trial_id)
        except atomic.StorageError:
            raise
        except Exception as error:  # from MLflow, a database, its driver or the network
            text = summarize_error(error)
            if not server.is_refusal(error):
                server.connect(sender.study_run.uri, sender.study.config.tracking.experiment)
        if text is not None:
            texts[trial_id] = text
    return texts


def close_study(
    sender: Sender, *, finished: bool, wait: float | None = server.SEVERAL_WITHIN
) -> Reasons:
    """Close the study's own run within a time limit; return why that failed, or nothing."""

    def close() -> None:
        try:
            sender.close_study(finished=finished)
        except Exception:  # a server may fail once
            time.sleep(RETRY_SECONDS)
            sender.close_study(finished=finished)

    try:
        list(sender.study.folder.trials())  # wait for missing storage, not in the server's time
        call_within(wait, close)
    except Exception as error:  # from MLflow, a database, its driver or the network
        return {STUDY_RUN: summarize_error(error)}
    return {}
