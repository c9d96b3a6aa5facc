"""What sends to MLflow what the ledger holds and MLflow lacks: a thread, or one call afterwards.

Training never waits for it. What could not be sent stays marked as unsent in the ledger. It is sent
when the server is back, or by ``clipfit-study sync NAME``. Sending twice changes nothing. That call
also finds what MLflow lost, or accepted without doing anything.
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
from study.selection.choice import winners
from study.storage import atomic
from study.storage.ledger_files import LedgerError
from study.storage.time_limit import call_within
from study.tracking.mlflow import registry, run_content, server
from study.tracking.mlflow.sender import TRIAL_ARTIFACTS, Sender
from study.tracking.mlflow.sync_state import TrialRecord
from study.tracking.tracker import SyncResult, describe_unsent, first_line
from study.trial.study import Study

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""The pause after a failed call, before the next one."""
FINAL_SECONDS = 60.0
"""How long the end of a study waits for a server that accepts nothing."""
LONGEST_SECONDS = 600.0
"""How long the end of a study waits for a slow server that still accepts what is sent."""
STUDY_RUN = "the study's own run"
"""Stands for the study's own run where otherwise a trial's id stands."""
LEDGER = "the study's trials"
"""Stands in the queue for a request to look at all trials."""
NOT_SENT = "not sent yet"


class Mirror:
    """A thread that sends a study's trials to MLflow, first what an earlier driver left unsent.

    A trial that MLflow refuses is not sent again until it changes. A trial that fails for another
    reason, such as a server that is down, is sent again later, after the others.

    Args:
        sender: what sends the study's trials.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._changed: queue.Queue[str | None] = queue.Queue()
        self._unsent: dict[str, str] = {}
        """The trials to send, the next one first, each with the reason why it is not sent yet."""
        self.refused: dict[str, str] = {}
        """The trials that MLflow refused, each with the reason; they wait until they change."""
        self._lost: dict[str, str] = {}
        """The trials whose files could not be had while the study closed, each with the reason."""
        self._closing = False
        self._settled = 0
        """The number of sends that are done: accepted, refused, or without their files."""
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self.send()
        self._thread.start()

    def send(self, trial_id: str = LEDGER) -> None:
        """Ask for a trial to be sent that has changed; without an id, for all to be checked."""
        self._changed.put(trial_id)

    def drain(self) -> dict[str, str]:
        """Send the rest while the server accepts it, then stop; return what is still unsent."""
        if not self._stop.is_set():
            self._changed.put(None)
            deadline = time.monotonic() + LONGEST_SECONDS
            before = -1
            while self._thread.is_alive() and self._settled > before:
                before = self._settled
                self._thread.join(min(FINAL_SECONDS, max(0.0, deadline - time.monotonic())))
            self._stop.set()
            with suppress(queue.Empty):
                for trial_id in iter(self._changed.get_nowait, None):  # None asked to close
                    self._unsent.setdefault(trial_id, NOT_SENT)
            if not self._unsent:
                self._thread.join()
        return self._unsent | self._lost

    def _work(self) -> None:
        """Send changed trials until asked to close, and then every trial that is not sent."""
        while not self._stop.is_set() and (self._unsent or not self._closing):
            try:
                changed = self._changed.get(block=not self._unsent)
            except queue.Empty:  # so that changes of one trial go out together
                self._send(
                    LEDGER if self._unsent.get(LEDGER) == NOT_SENT else next(iter(self._unsent))
                )
            else:
                self._closing = self._closing or changed is None
                self._unsent.setdefault(changed or LEDGER, NOT_SENT)

    def _send(self, trial_id: str) -> None:
        try:
            if trial_id == LEDGER:
                for trial in self._sender.study.folder.trials():
                    self._unsent.setdefault(trial.trial_id, NOT_SENT)
            else:
                self._sender.send_trial(trial_id)
        except Exception as error:  # no answer of a server may stop the study
            reason = first_line(error)
            del self._unsent[trial_id]
            if server.refused(error):
                if not self.refused:
                    logger.warning(
                        "%s cannot be sent to MLflow, the others go on: %s"
                        if isinstance(error, StudyError)
                        else "MLflow refuses %s, the others go on: %s",
                        *(trial_id, reason),
                    )
                self.refused[trial_id] = reason
                self._settled += 1
                return
            if self._closing and isinstance(error, atomic.StorageError):
                # It has been waited for as long as the study waits for storage.
                self._lost[trial_id] = reason
                self._settled += 1
            else:
                self._unsent[trial_id] = reason
            if not self._failing:
                logger.warning(
                    "results are not sent to MLflow until storage is back: %s"
                    if isinstance(error, atomic.StorageError)
                    else "MLflow does not take results: %s",
                    reason,
                )
            self._failing = True
            if self._unsent.get(trial_id):
                self._stop.wait(RETRY_SECONDS)
        else:
            del self._unsent[trial_id]
            self.refused.pop(trial_id, None)
            self._lost.pop(trial_id, None)
            self._settled += 1
            if self._failing and set(self._unsent.values()) <= {NOT_SENT}:
                logger.warning("MLflow takes results again")
                self._failing = False


def sync_study(
    study: Study, uri: str, write_outputs: Callable[[], object] = lambda: None
) -> SyncResult:
    """Send everything that MLflow lacks, and wait for it, however slow each answer may be.

    Trials sent earlier and trials sent now are both compared with the runs that MLflow lists.

    Args:
        study: the study.
        uri: the address of the tracking server or store.
        write_outputs: writes the tables and the report again; they name the registered winner.

    Raises:
        TrackingError: the server does not answer, or MLflow still lacks the trials in the message.
        StorageError: the study's folder cannot be read or written.
    """
    folder, sender = study.folder, Sender(study, uri)
    trials = [trial.trial_id for trial in folder.trials()]
    listed = list_runs(sender)
    found = lacking(sender, listed, trials)
    incomplete = {trial_id for trial_id, lack in found.items() if lack}
    for trial_id in incomplete:
        sender.trial_runs.send_again(folder.trial(trial_id), listed)
    failed = _each(sender, trials, sender.send_trial)
    unsent = _each(sender, failed, sender.send_trial)
    if sent := [t for t in trials if t not in unsent and found.get(t) != ""]:
        unsent |= {t: lack for t, lack in lacking(sender, list_runs(sender), sent).items() if lack}
    finished, before = folder.is_complete(), folder.read_registration()
    if finished:  # an unfinished study may still get another winner, or more seeds
        registry.register_or_warn(sender.study_run, {}, wait=None)
    if folder.read_registration() != before:
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
    run = sender.study_run
    found = server.all_runs(run.client, [run.experiment_id], run.own_runs)
    return server.ask(
        None,
        lambda: {run.info.run_id: run for run in found},
        f"MLflow does not give the runs of study '{sender.study.folder.name}'",
    )


def lacking(sender: Sender, listed: Mapping[str, Run], trials: Iterable[str]) -> dict[str, str]:
    """Return, for each trial marked as sent, what MLflow lacks; "" means nothing.

    Trials that have changed since they were sent are left out: they are sent again anyway.

    Args:
        sender: what sends the study's trials.
        listed: what `list_runs` returned.
        trials: the ids of the trials.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read.
    """
    return _each(sender, trials, lambda trial_id: _lack(sender, listed, trial_id))


def _lack(sender: Sender, listed: Mapping[str, Run], trial_id: str) -> str | None:
    """Return what of a trial was sent and is missing, the run's end and artifacts included."""
    trial = sender.study.folder.trial(trial_id)
    try:
        record = TrialRecord.read(trial, sender.study_run.run_id)
        config = trial.read_config()
    except LedgerError:  # reported when the trial is sent
        return None
    if record is None or not record.mark.run_id:
        return None
    mark, end, reports = record.mark, record.end, record.reports
    if (run := listed.get(mark.run_id)) is None:
        return "its run is not there"
    if record.is_renamed or not record.fits_mark:
        return None
    end = end if mark.closed else None
    if end is not None and run.info.status != run_content.STATUS[end.status]:
        return f"its run is {run.info.status}, not {run_content.STATUS[end.status]}"
    points = Counter(metric.key for metric in run_content.epoch_metrics(reports[: mark.reports], 0))
    whole = {*run_content.TOTALS} if end else set()
    whole |= {"trainable"} if end or points else set()
    tags = sender.trial_runs.tags(config) | ({run_content.ENDED: end.status} if end else {})
    wanted = {
        "tags": tags.items() - run.data.tags.items(),
        "parameters": sender.trial_runs.params(config).items() - run.data.params.items(),
        "metrics": (whole | points.keys()) - run.data.metrics.keys(),
        "datasets": _names(sender.trial_runs.inputs(config)) - _names(run.inputs.dataset_inputs),
    }
    lacks = [name for name, values in wanted.items() if values]
    lacks += [
        "epochs"
        for key, count in points.most_common(1)
        if len({m.step for m in sender.client.get_metric_history(mark.run_id, key)}) < count
    ]
    if end is not None:
        files = server.matching_files(trial.path, TRIAL_ARTIFACTS, known=trial.path.parent)
        there = {artifact.path for artifact in sender.client.list_artifacts(mark.run_id)}
        lacks += [name for name in files if name not in there]
    return f"its run lacks {', '.join(lacks)}" if lacks else ""


def _names(inputs: Iterable[DatasetInput]) -> set[tuple[str, str]]:
    """Return the names and digests of datasets."""
    return {(one.dataset.name, one.dataset.digest) for one in inputs}


def _each(sender: Sender, trials: Iterable[str], do: Callable[[str], str | None]) -> dict[str, str]:
    """Return what a call returned of each trial, or why it failed; trials without either left out.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read or written.
    """
    told = {}
    for trial_id in trials:
        try:
            told[trial_id] = do(trial_id)
        except atomic.StorageError:
            raise
        except Exception as error:  # from MLflow, a database, its driver or the network
            told[trial_id] = first_line(error)
            if not server.refused(error):
                server.connect(sender.study_run.uri, sender.study.config.tracking.experiment)
    return {trial_id: text for trial_id, text in told.items() if text is not None}


def close_study(
    sender: Sender, *, finished: bool, wait: float | None = server.SEVERAL_WITHIN
) -> dict[str, str]:
    """Close the parent run, in so many seconds; return why that failed, or nothing."""

    def close() -> None:
        try:
            sender.close_study(finished=finished, winners=partial(winners, sender.study))
        except Exception:  # a server may fail once
            time.sleep(RETRY_SECONDS)
            sender.close_study(finished=finished, winners=partial(winners, sender.study))

    try:
        list(sender.study.folder.trials())  # wait for missing storage, not in the server's time
        call_within(wait, close)
    except Exception as error:  # from MLflow, a database, its driver or the network
        return {STUDY_RUN: first_line(error)}
    return {}
