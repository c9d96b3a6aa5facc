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

from mlflow.entities import Run

from study.errors import StudyError, TrackingError
from study.storage.atomic import StorageError
from study.storage.ledger import LedgerError
from study.tracking.mlflow.marks import Mark
from study.tracking.mlflow.registry import register_or_tell
from study.tracking.mlflow.runs import (
    STATUS,
    TOTALS,
    TRIAL_ARTIFACTS,
    RunWriter,
    epoch_metrics,
    files_that_fit,
)
from study.tracking.mlflow.server import all_runs, ask, refused
from study.tracking.tracker import Synced, describe_unsent, first_line, within
from study.trial.study import Study

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""The pause after a failed call, before the next one."""
FINAL_SECONDS = 60.0
"""How long the end of a study waits for a server that accepts nothing."""
LONGEST_SECONDS = 600.0
"""How long the end of a study waits for a slow server that still accepts what is sent."""
CLOSES_WITHIN = 120.0
"""How many seconds sending the tables and the report may take."""
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
        writer: the writer of the study's runs.
    """

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._changed: queue.Queue[str | None] = queue.Queue()
        self._unsent: dict[str, str] = {}
        """The trials to send, the next one first, each with the reason why it is not sent yet."""
        self.refused: dict[str, str] = {}
        """The trials that MLflow refused, each with the reason; they wait until they change."""
        self._settled = 0
        """The number of sends that are done: accepted or refused."""
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
            self._collect(block=False)
            if not self._unsent:
                self._thread.join()
        return self._unsent.copy()

    def _work(self) -> None:
        """Send changed trials until asked to close; changes of one trial go out together."""
        closing = False
        while not self._stop.is_set():
            if self._collect(block=not (closing or self._unsent)):
                closing = True
                self._unsent[LEDGER] = NOT_SENT  # every trial is sent, or reported as unsent
            if self._unsent:
                first = next(iter(self._unsent))
                self._send(LEDGER if self._unsent.get(LEDGER) == NOT_SENT else first)
            elif closing:
                return

    def _collect(self, *, block: bool) -> bool:
        """Move changes from the queue to ``_unsent``; return whether closing was requested."""
        items = [self._changed.get()] if block else []
        with suppress(queue.Empty):
            while True:
                items.append(self._changed.get_nowait())
        for trial_id in filter(None, items):
            self._unsent.setdefault(trial_id, NOT_SENT)
        return None in items

    def _send(self, trial_id: str) -> None:
        try:
            if trial_id == LEDGER:
                for trial in self._writer.study.folder.trials():
                    self._unsent.setdefault(trial.trial_id, NOT_SENT)
            else:
                self._writer.sync_trial(trial_id)
        except Exception as error:  # no answer of a server may stop the study
            reason = first_line(error)
            del self._unsent[trial_id]
            if refused(error):
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
            self._unsent[trial_id] = reason
            if not self._failing:
                logger.warning(
                    "results are not sent to MLflow until storage is back: %s"
                    if isinstance(error, StorageError)
                    else "MLflow does not take results: %s",
                    reason,
                )
            self._failing = True
            self._stop.wait(RETRY_SECONDS)
        else:
            del self._unsent[trial_id]
            self.refused.pop(trial_id, None)
            self._settled += 1
            if self._failing and set(self._unsent.values()) <= {NOT_SENT}:
                logger.warning("MLflow takes results again")
                self._failing = False


def sync_study(
    study: Study, uri: str, write_outputs: Callable[[], object] = lambda: None
) -> Synced:
    """Send everything that MLflow lacks, and wait for it.

    Trials sent earlier and trials sent now are both compared with the runs that MLflow lists.

    Args:
        study: the study.
        uri: the address of the tracking server or store.
        write_outputs: writes the tables and the report again; they name the registered winner.

    Raises:
        TrackingError: the server does not answer, or MLflow still lacks the trials in the message.
        StorageError: the study's folder cannot be read or written.
    """
    folder, writer = study.folder, RunWriter(study, uri)
    trials = [trial.trial_id for trial in folder.trials()]
    runs = list_runs(writer)
    found = lacking(writer, runs, trials)
    incomplete = {trial_id for trial_id, lack in found.items() if lack}
    for trial_id in incomplete:
        mark = Mark.read(folder.trial(trial_id), writer.parent_id)
        writer.send_again(trial_id, runs.get(mark.run_id))
    failed = _each(writer, trials, writer.sync_trial)
    unsent = _each(writer, failed, writer.sync_trial)
    whole = found.keys() - incomplete
    if sent := [trial_id for trial_id in trials if trial_id not in whole | unsent.keys()]:
        after = lacking(writer, list_runs(writer), sent)
        unsent |= {trial_id: lack for trial_id, lack in after.items() if lack}
    finished, before = folder.is_complete(), folder.read_registration()
    if finished:  # an unfinished study may still get another winner, or more seeds
        register_or_tell(writer, {})
    if folder.read_registration() != before:
        write_outputs()
    unsent |= close_study(writer, finished=finished)
    if unsent:
        raise TrackingError(
            f"of study '{folder.name}', MLflow lacks {describe_unsent(unsent, len(unsent))}"
        )
    return Synced(len(trials), len(incomplete))


def list_runs(writer: RunWriter) -> dict[str, Run]:
    """Return the runs that MLflow has of a study, by their ids.

    Raises:
        TrackingError: the server does not return the runs.
    """
    folder = writer.study.folder
    condition = f"tags.study_id = '{folder.read_identity()['study_id']}'"
    runs = ask(
        None,
        lambda: list(all_runs(writer.client, [writer.experiment_id], condition)),
        f"MLflow does not give the runs of study '{folder.name}'",
    )
    return {run.info.run_id: run for run in runs}


def lacking(writer: RunWriter, runs: Mapping[str, Run], trials: Iterable[str]) -> dict[str, str]:
    """Return, for each trial marked as sent, what MLflow lacks; "" means nothing.

    Trials that have changed since they were sent are left out: they are sent again anyway.

    Args:
        writer: the writer of the study's runs.
        runs: what `list_runs` returned.
        trials: the ids of the trials.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read.
    """
    return _each(writer, trials, lambda trial_id: _lack(writer, runs, trial_id))


def _lack(writer: RunWriter, runs: Mapping[str, Run], trial_id: str) -> str | None:
    """Return what of a trial was sent and is missing, the run's end and artifacts included."""
    trial = writer.study.folder.trial(trial_id)
    mark = Mark.read(trial, writer.parent_id)
    try:
        config, end, reports = trial.read_config(), trial.read_end(), trial.read_reports()
    except LedgerError:  # reported when the trial is sent
        return None
    if not mark.run_id or mark.trial_id not in ("", trial_id) or not mark.fits(reports, end):
        return None
    if (run := runs.get(mark.run_id)) is None:
        return "its run is not there"
    end = end if mark.closed else None
    if end is not None and run.info.status != STATUS[end.status]:
        return f"its run is {run.info.status}, not {STATUS[end.status]}"
    points = Counter(metric.key for metric in epoch_metrics(reports[: mark.reports], 0))
    wanted = {
        "tags": writer.trial_tags(config).items() - run.data.tags.items(),
        "parameters": writer.trial_params(config).items() - run.data.params.items(),
        "metrics": {"trainable", *points, *(TOTALS if end else ())} - run.data.metrics.keys(),
    }
    lacks = [name for name, values in wanted.items() if values]
    for key, count in points.most_common(1):
        history = writer.client.get_metric_history(mark.run_id, key)
        if len({point.step for point in history}) < count:
            lacks.append("epochs")
    if end is not None:
        names = files_that_fit(trial.path, TRIAL_ARTIFACTS, known=trial.path.parent)
        there = {artifact.path for artifact in writer.client.list_artifacts(mark.run_id)}
        lacks += [name for name in names if name not in there]
    return f"its run lacks {', '.join(lacks)}" if lacks else ""


def _each(
    writer: RunWriter, trials: Iterable[str], do: Callable[[str], str | None]
) -> dict[str, str]:
    """Return what a call returned of each trial, or why it failed; trials without either left out.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read or written.
    """
    told = {}
    for trial_id in trials:
        try:
            told[trial_id] = do(trial_id)
        except StorageError:
            raise
        except Exception as error:  # from MLflow, a database, its driver or the network
            told[trial_id] = first_line(error)
            if not refused(error):
                writer.reach()
    return {trial_id: text for trial_id, text in told.items() if text is not None}


def close_study(writer: RunWriter, *, finished: bool) -> dict[str, str]:
    """Close the parent run; return why that failed, or nothing."""

    def close() -> None:
        try:
            writer.close_study(finished=finished)
        except Exception:  # a server may fail once
            time.sleep(RETRY_SECONDS)
            writer.close_study(finished=finished)

    try:
        list(writer.study.folder.trials())  # wait for missing storage, not in the server's time
        within(CLOSES_WITHIN, close)
    except Exception as error:  # from MLflow, a database, its driver or the network
        return {STUDY_RUN: first_line(error)}
    return {}
