"""What sends to MLflow what the ledger holds and MLflow lacks: a thread, or one call afterwards.

Training never waits for it. What could not be sent stays marked as unsent in the ledger. It is sent
when the server is back, or by ``clipfit-study sync NAME``. Sending twice changes nothing.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable

from study.errors import StudyError, TrackingError
from study.storage.atomic import StorageError
from study.tracking.mlflow.audit import Audit
from study.tracking.mlflow.registry import register_or_tell
from study.tracking.mlflow.runs import RunWriter
from study.tracking.mlflow.server import refused
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
                looks = self._unsent.get(LEDGER) == NOT_SENT
                self._send(LEDGER if looks else next(iter(self._unsent)))
            elif closing:
                return

    def _collect(self, *, block: bool) -> bool:
        """Move changes from the queue to ``_unsent``; return whether closing was requested."""
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
    audit = Audit(writer)
    found = audit.lacking(trials)
    whole = {trial_id for trial_id, lack in found.items() if not lack}
    for trial_id in found.keys() - whole:
        writer.send_again(trial_id, audit.run_of(trial_id))
    unsent = _send_all(writer, _send_all(writer, trials))  # the second pass retries what failed
    if sent := [trial_id for trial_id in trials if trial_id not in whole | unsent.keys()]:
        unsent |= {trial_id: lack for trial_id, lack in Audit(writer).lacking(sent).items() if lack}
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
    return Synced(len(trials), len(found.keys() - whole))


def _send_all(writer: RunWriter, trials: Iterable[str]) -> dict[str, str]:
    """Send trials; return those that failed, and why.

    Raises:
        TrackingError: the server no longer answers.
        StorageError: the study's folder cannot be read or written.
    """
    unsent = {}
    for trial_id in trials:
        try:
            writer.sync_trial(trial_id)
        except StorageError:
            raise
        except Exception as error:  # from MLflow, a database, its driver or the network
            unsent[trial_id] = first_line(error)
            if not refused(error):
                writer.reach()
    return unsent


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
