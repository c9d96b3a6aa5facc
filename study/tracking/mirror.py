"""The study's mirror in MLflow: a thread that sends what the ledger holds and MLflow lacks.

Training never waits for it. What could not be sent stays marked as unsent in the ledger and goes
out when the server is back, or by ``study/run.py --sync NAME``: sending twice changes nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from study.config import StudyConfig
from study.errors import StudyError
from study.ledger import End, StudyFolder
from study.tracking.registry import register_winner
from study.tracking.reuse import take_over
from study.tracking.runs import RunWriter
from study.tracking.server import first_line
from study.trial import TrialConfig

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""Wait after a failed call, before the next."""
FINAL_SECONDS = 60.0
"""How long the end of a study waits for a server that takes nothing."""


class Mirror:
    """Observes a study and sends its trials to MLflow in the background."""

    def __init__(self, config: StudyConfig, folder: StudyFolder, uri: str) -> None:
        self._writer = RunWriter(config, folder, uri)
        self._config = config
        self._folder = folder
        self._changed: queue.Queue[str | None] = queue.Queue()
        self._unsent: set[str] = set()
        self._sent = 0
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
        for trial in self._folder.trials():
            self._changed.put(trial.trial_id)

    @property
    def experiment_id(self) -> str:
        """Of the experiment that the study's runs are in, once it has started."""
        return self._writer.experiment_id

    def take_over(self, wanted: Sequence[TrialConfig]) -> set[str]:
        """See `study.tracking.reuse.take_over`."""
        return take_over(self._writer.client, self._folder, wanted)

    def register(self) -> None:
        """Send the rest, then put the winner into the model registry."""
        if not self._drain():
            register_or_tell(self._config, self._folder, self._writer)

    def close(self, *, finished: bool) -> int:
        """Send the rest; close the parent run; count what stays unsent."""
        unsent = self._drain()
        if not self._thread.is_alive() and not unsent:
            unsent += not self._attempt(lambda: self._writer.close_study(finished=finished))
        return unsent

    def _drain(self) -> int:
        """Send the rest as long as it is taken, and no more after it; count what stays unsent."""
        if not self._stop.is_set():
            self._changed.put(None)
            before = -1
            while self._thread.is_alive() and self._sent > before:
                before = self._sent
                self._thread.join(FINAL_SECONDS)
            self._stop.set()
        return len(self._unsent) + self._changed.qsize()

    def _work(self) -> None:
        """Send changed trials, many changes of one trial at once, until closed."""
        closing = False
        while not (closing and not self._unsent) and not self._stop.is_set():
            closing |= self._collect(wait=RETRY_SECONDS if self._failing else None, closing=closing)
            for trial_id in sorted(self._unsent):
                if self._stop.is_set():
                    return
                if not self._attempt(lambda: self._writer.sync_trial(trial_id)):  # noqa: B023
                    break
                self._unsent.discard(trial_id)
                self._sent += 1

    def _collect(self, *, wait: float | None, closing: bool) -> bool:
        """Move changes from the queue to the unsent; tell whether closing was asked for."""
        closed = False
        if wait is not None:
            self._stop.wait(wait)
        try:
            item = self._changed.get(block=not self._unsent and not closing)
            while True:
                if item is None:
                    closed = True
                else:
                    self._unsent.add(item)
                item = self._changed.get_nowait()
        except queue.Empty:
            return closed

    def _attempt(self, send: Any) -> bool:
        try:
            send()
        except Exception as error:  # whatever a server answers, the study goes on
            if not self._failing:
                logger.warning("MLflow does not take results: %s", first_line(error))
            self._failing = True
            return False
        if self._failing:
            logger.warning("MLflow takes results again")
        self._failing = False
        return True


def register_or_tell(config: StudyConfig, folder: StudyFolder, writer: RunWriter) -> None:
    """Register the winner; a study is complete without, so a failure is told and no more."""
    try:
        register_winner(config, folder, writer)
    except StudyError as error:
        logger.warning(
            "the winner is not in the model registry: %s; put it there by "
            "python study/run.py --sync %s",
            error,
            folder.name,
        )


def sync_study(
    config: StudyConfig,
    folder: StudyFolder,
    uri: str,
    write_outputs: Callable[[], object] = lambda: None,
) -> int:
    """Send everything that MLflow lacks, in the foreground; give the number of trials.

    Args:
        config: of the study.
        folder: of the study.
        uri: of the tracking server or store.
        write_outputs: writes tables and report anew, which say where the winner is registered.

    Raises:
        TrackingError: the server does not answer.
    """
    writer = RunWriter(config, folder, uri)
    writer.open_study()
    count = 0
    for trial in folder.trials():
        writer.sync_trial(trial.trial_id)
        count += 1
    before = folder.registration
    register_or_tell(config, folder, writer)
    if folder.registration != before:
        write_outputs()
    writer.close_study(finished=folder.read_json("candidates.json") is not None)
    return count
