"""The study's mirror in MLflow: a thread that sends what the ledger holds and MLflow lacks.

Training never waits for it. What could not be sent stays marked as unsent in the ledger and goes
out when the server is back, or by ``study/run.py --sync NAME``: sending twice changes nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from study.config.schema import StudyConfig
from study.errors import StudyError, TrackingError
from study.storage.atomic import StorageError
from study.storage.ledger import End, StudyFolder
from study.tracking.mlflow.audit import Audit
from study.tracking.mlflow.choice import Choice
from study.tracking.mlflow.registry import register_winner
from study.tracking.mlflow.reuse import take_over
from study.tracking.mlflow.runs import RunWriter
from study.tracking.mlflow.server import first_line, refused, within
from study.trial import TrialConfig

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""Wait after a call that a server did not take, before the next."""
FINAL_SECONDS = 60.0
"""How long the end of a study waits for a server that takes nothing."""
LONGEST_SECONDS = 600.0
"""How long it waits for one that is behind, but takes what is sent."""
CLOSES_WITHIN = 120.0
"""How long it waits for the tables and the report to be taken."""
STUDY_RUN = "the study's own run"
"""Stands for a trial's id."""
LEDGER = "the study's trials"
"""Stands for a trial's id: all trials are looked at."""
NOT_SENT = "not sent yet"


class Mirror:
    """Observes a study and sends its trials to MLflow in the background.

    A trial that MLflow refuses is set aside until it changes. One that is not taken for another
    reason is sent again after a while, and after the others.
    """

    def __init__(self, config: StudyConfig, folder: StudyFolder, uri: str) -> None:
        self._writer = RunWriter(config, folder, uri)
        self._config = config
        self._folder = folder
        self._changed: queue.Queue[str | None] = queue.Queue()
        self._unsent: dict[str, str] = {}
        """Trials to send, the next first, and why they were not taken when they were sent."""
        self._refused: dict[str, str] = {}
        """Trials that are not sent again unless they change, and why."""
        self._settled = 0
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier driver left unsent.

        Raises:
            TrackingError: the server does not answer.
        """
        self._writer.open_study()
        self.look_again()
        self._thread.start()

    def trial_started(self, config: TrialConfig) -> None:
        """See `study.search.callback.Observer`."""
        self._changed.put(config.trial_id)

    def trial_reported(self, config: TrialConfig, epoch: int, score: float | None) -> None:
        """See `study.search.callback.Observer`."""
        self._changed.put(config.trial_id)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `study.search.callback.Observer`."""
        self._changed.put(config.trial_id)

    def look_again(self) -> None:
        """Send what changed in trials that have ended, such as their names."""
        self._changed.put(LEDGER)

    @property
    def experiment_id(self) -> str:
        """Of the experiment that the study's runs are in, once it has started."""
        return self._writer.experiment_id

    def take_over(self, wanted: Sequence[TrialConfig]) -> set[str]:
        """See `study.tracking.mlflow.reuse.take_over`."""
        return take_over(self._writer.client, self._folder, wanted)

    def register(self) -> None:
        """Send the rest, then put the winner into the model registry."""
        unsent = self._drain()
        if not unsent:
            register_or_tell(self._config, self._folder, self._writer)
        elif (choice := Choice.read(self._config, self._folder)) and choice.is_winner:
            _tell_unregistered(self._folder, f"MLflow lacks {told(unsent, 1)}")

    def close(self, *, finished: bool) -> dict[str, str]:
        """Send the rest and close the parent run; give what MLflow lacks, and why."""
        unsent = self._drain()
        if not unsent:
            self._thread.join()
            unsent = _close(self._writer, self._folder, finished=finished)
        return self._refused | unsent

    def _drain(self) -> dict[str, str]:
        """Send the rest as long as it is taken, and no more after it; give what stays unsent."""
        if not self._stop.is_set():
            self._changed.put(None)
            deadline = time.monotonic() + LONGEST_SECONDS
            before = -1
            while self._thread.is_alive() and self._settled > before:
                before = self._settled
                self._thread.join(min(FINAL_SECONDS, max(0.0, deadline - time.monotonic())))
            self._stop.set()
            self._collect(block=False)
        return self._unsent.copy()

    def _work(self) -> None:
        """Send changed trials, many changes of one trial at once, until closed."""
        closing = False
        while not self._stop.is_set():
            if self._collect(block=not (closing or self._unsent)):
                closing = True
                self._unsent[LEDGER] = NOT_SENT  # whatever has ended is sent, or named
            if self._unsent:
                looks = self._unsent.get(LEDGER) == NOT_SENT
                self._send(LEDGER if looks else next(iter(self._unsent)))
            elif closing:
                return

    def _collect(self, *, block: bool) -> bool:
        """Move changes from the queue to the unsent; tell whether closing was asked for."""
        closed = False
        try:
            item = self._changed.get(block=block)
            while True:
                if item is None:
                    closed = True
                else:
                    self._unsent.setdefault(item, NOT_SENT)
                item = self._changed.get_nowait()
        except queue.Empty:
            return closed

    def _send(self, trial_id: str) -> None:
        try:
            if trial_id == LEDGER:
                for trial in self._folder.trials():
                    self._unsent.setdefault(trial.trial_id, NOT_SENT)
            else:
                self._writer.sync_trial(trial_id)
        except Exception as error:  # whatever a server answers, the study goes on
            reason = first_line(error)
            del self._unsent[trial_id]
            if refused(error):
                if not self._refused:
                    own = isinstance(error, StudyError)
                    what = "%s cannot be sent to MLflow" if own else "MLflow refuses %s"
                    logger.warning(what + ", the others go on: %s", trial_id, reason)
                self._refused[trial_id] = reason
                self._settled += 1
                return
            self._unsent[trial_id] = reason
            if not self._failing and isinstance(error, StorageError):
                logger.warning("results are not sent to MLflow until storage is back: %s", reason)
            elif not self._failing:
                logger.warning("MLflow does not take results: %s", reason)
            self._failing = True
            self._stop.wait(RETRY_SECONDS)
        else:
            del self._unsent[trial_id]
            self._refused.pop(trial_id, None)
            self._settled += 1
            if self._failing and set(self._unsent.values()) <= {NOT_SENT}:
                logger.warning("MLflow takes results again")
                self._failing = False


def register_or_tell(config: StudyConfig, folder: StudyFolder, writer: RunWriter) -> None:
    """Register the winner; a study is complete without, so a failure is told and no more."""
    try:
        register_winner(config, folder, writer)
    except StudyError as error:
        _tell_unregistered(folder, str(error))


def _tell_unregistered(folder: StudyFolder, reason: str) -> None:
    logger.warning(
        "the winner is not in the model registry: %s; put it there by "
        "python study/run.py --sync %s",
        reason,
        folder.name,
    )


class Synced(NamedTuple):
    """What `sync_study` did."""

    trials: int
    """That MLflow has now."""
    again: int
    """Those among them that had been sent before, and that MLflow lacked or had in part."""


def sync_study(
    config: StudyConfig,
    folder: StudyFolder,
    uri: str,
    write_outputs: Callable[[], object] = lambda: None,
) -> Synced:
    """Send everything that MLflow lacks, in the foreground.

    What was sent before is compared with the runs that MLflow has, and what is sent now as well.

    Args:
        config: of the study.
        folder: of the study.
        uri: of the tracking server or store.
        write_outputs: writes tables and report anew, which say where the winner is registered.

    Raises:
        TrackingError: the server does not answer; or it has all but those that are named.
        StorageError: the study's folder cannot be read or written.
    """
    writer = RunWriter(config, folder, uri)
    writer.open_study()
    trials = [trial.trial_id for trial in folder.trials()]
    audit = Audit(writer, folder)
    found = audit.lacking(trials)
    whole = {trial_id for trial_id, lack in found.items() if not lack}
    for trial_id in found.keys() - whole:
        writer.send_again(trial_id, audit.run_of(trial_id))
    unsent = _send_all(writer, _send_all(writer, trials))  # a server may have stumbled once
    sent = [trial_id for trial_id in trials if trial_id not in whole | unsent.keys()]
    if sent:
        left = Audit(writer, folder).lacking(sent)
        unsent |= {trial_id: lack for trial_id, lack in left.items() if lack}
    finished, before = folder.complete, folder.registration
    if finished:  # whose winner may be another, and its score that of fewer seeds, otherwise
        register_or_tell(config, folder, writer)
    if folder.registration != before:
        write_outputs()
    unsent |= _close(writer, folder, finished=finished)
    if unsent:
        raise TrackingError(f"of study '{folder.name}', MLflow lacks {told(unsent, len(unsent))}")
    return Synced(len(trials), len(found.keys() - whole))


def told(unsent: Mapping[str, str], most: int = 10) -> str:
    """Tell how many runs were not taken; name the first, and why."""
    lines = [f"{trial_id}: {reason}" for trial_id, reason in list(unsent.items())[:most]]
    lines += [f"and {len(unsent) - most} more"] if len(unsent) > most else []
    return "\n  ".join([f"{len(unsent)} run{'s' if len(unsent) > 1 else ''}:", *lines])


def _send_all(writer: RunWriter, trials: Iterable[str]) -> dict[str, str]:
    """Send trials; give those that were not taken, and why.

    Raises:
        TrackingError: the server is gone.
        StorageError: the study's folder cannot be read or written.
    """
    unsent = {}
    for trial_id in trials:
        try:
            writer.sync_trial(trial_id)
        except StorageError:
            raise
        except Exception as error:  # of MLflow, a database, its driver or the network
            unsent[trial_id] = first_line(error)
            if not refused(error):
                writer.reach()
    return unsent


def _close(writer: RunWriter, folder: StudyFolder, *, finished: bool) -> dict[str, str]:
    """Close the parent run; give why it was not taken, if so."""

    def close() -> None:
        try:
            writer.close_study(finished=finished)
        except Exception:  # a server may have stumbled once
            time.sleep(RETRY_SECONDS)
            writer.close_study(finished=finished)

    try:
        list(folder.trials())  # storage that is away is waited for out of the server's time
        within(CLOSES_WITHIN, close)
    except Exception as error:  # of MLflow, a database, its driver or the network
        return {STUDY_RUN: first_line(error)}
    return {}
