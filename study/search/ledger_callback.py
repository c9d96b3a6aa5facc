"""Close a trial on disk when Tune says that it ended, then notify the search and the observers."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial

from study.search.observers import Observers, notify
from study.search.ray_internals import (
    LOW_ON_MEMORY,
    MEMORY_REPORT,
    RAISED,
    cause_of,
    wait_for_temporary_space,
    worker_of,
)
from study.search.recording import close_trial, read_hang, validation_scores
from study.search.searcher import StudySearcher
from study.storage import atomic
from study.storage.atomic import StorageError, stop_waiting
from study.storage.trial_folder import End, Status

logger = logging.getLogger(__name__)

GRACE = 30.0
"""The seconds that a worker has beyond its limit and the time that it may wait for storage."""


@dataclass(eq=False, repr=False)
class LedgerCallback(Callback):
    """A callback that closes trials in the ledger, then notifies the search and the observers.

    An observer's exception must not reach Tune, which would end the study.

    Args:
        searcher: the searcher of the trials.
        observers: the listeners that are notified after it.
        limit: how many seconds an epoch may take; None means without limit. A worker exits by
            itself when one takes longer. It cannot if its process was stopped or its machine does
            not answer, so the driver ends it some time later, and another one continues the trial.
    """

    searcher: StudySearcher
    observers: Observers
    limit: float | None = None
    _signs_of_life: dict[str, tuple[Trial, float]] = field(default_factory=dict, init=False)
    """The running trials by Tune's id, each with the time of its last sign of life."""
    _hung: set[str] = field(default_factory=set, init=False)
    """Tune's ids of the trials whose workers were ended and that have not reported since."""
    _fault: StorageError | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def on_trial_start(self, trial: Trial, **_: Any) -> None:
        """Notify the observers that a trial starts."""
        self._note_sign_of_life(trial)
        notify(self.observers, lambda o: o.trial_started(self.searcher.running[trial.trial_id]))

    def on_trial_result(self, trial: Trial, result: dict[str, Any], **_: Any) -> None:
        """Notify the observers of an epoch's result."""
        self._note_sign_of_life(trial)
        if not result.get("failed"):
            config = self.searcher.running[trial.trial_id]
            notify(
                self.observers,
                lambda o: o.trial_reported(config, result["epoch"], result["metrics"]),
            )

    def on_trial_complete(self, trial: Trial, **_: Any) -> None:
        """Close a trial; Tune also calls this for one that raised or was stopped."""
        self._signs_of_life.pop(trial.trial_id, None)
        result = trial.last_result or {}
        if result.get("storage"):  # the trial has not ended: a resumed study continues it
            self._fault = self._fault or StorageError(result["error"])
            stop_waiting()
        elif result.get("failed"):
            self._close(
                trial, "failed", None, **{n: result[n] for n in ("reason", "error", "unfit")}
            )
        elif result.get("epoch", -1) >= result.get("epochs", 0):
            self._close(trial, "finished", result.get("score"))
        else:
            deadline = self.searcher.deadline
            over = deadline is not None and trial.trial_id in deadline.stopped_ids
            cause = "the time of the search was over" if over else "successive halving"
            before = self.searcher.before.get(self.searcher.running[trial.trial_id].trial_id)
            reason = f"{cause} at epoch {result.get('epoch')}" if not before else before.reason
            self._close(trial, "stopped", result.get("score"), reason=reason)

    def on_trial_recover(self, trial: Trial, **_: Any) -> None:
        """Wait until another worker can start, or remember to end the study."""
        with self._keep_fault():
            wait_for_temporary_space()

    def on_trial_error(self, trial: Trial, **_: Any) -> None:
        """Close a trial whose worker died more often than is allowed."""
        self._signs_of_life.pop(trial.trial_id, None)
        error = ""
        if trial.error_file:
            error = Path(trial.error_file).read_text(errors="replace")
        last_failure = error.rpartition("Failure #")[2].partition(MEMORY_REPORT)[0]
        has_raised = RAISED in last_failure
        lacked_memory = not has_raised and LOW_ON_MEMORY in last_failure
        config = self.searcher.running[trial.trial_id]
        with self._keep_fault():
            if not has_raised:
                wait_for_temporary_space()
            hang = read_hang(self.searcher.folder.trial(config.trial_id))
            reason = "its worker died"
            was_ended = trial.trial_id in self._hung
            if hang is not None or was_ended:
                reason = f"no epoch within {self.limit:g} seconds"
                if was_ended:
                    reason += ", and its process stood still"
            elif has_raised:
                reason = cause_of(last_failure)
            elif lacked_memory:
                reason = "out of memory: Ray killed its worker to keep the machine alive"
            cause = {"reason": reason, "error": hang or last_failure}
            self._close(trial, "failed", None, **cause, unfit=hang is not None or lacked_memory)

    def on_step_end(self, **_: Any) -> None:
        """End hung workers, or the study if the ledger cannot be read or written.

        Tune would end only a trial for such an error in another event.

        Raises:
            StorageError: the first error of storage in an earlier event.
        """
        if self._fault:
            raise self._fault
        if self.limit is None:
            return
        allowed = self.limit + atomic.WAIT_SECONDS + GRACE
        for trial, last_sign in [*self._signs_of_life.values()]:
            actor = worker_of(trial)
            if actor is not None and time.monotonic() - last_sign > allowed:
                del self._signs_of_life[trial.trial_id]
                self._hung.add(trial.trial_id)
                ray.kill(actor)

    def _note_sign_of_life(self, trial: Trial) -> None:
        self._signs_of_life[trial.trial_id] = trial, time.monotonic()
        self._hung.discard(trial.trial_id)

    def _close(self, trial: Trial, status: Status, score: float | None, **cause: Any) -> None:
        config = self.searcher.running[trial.trial_id]
        folder = self.searcher.folder.trial(config.trial_id)
        with self._keep_fault():
            reports = folder.read_reports()
            epochs = 0
            if reports:
                epochs = reports[-1]["epoch"]
            end = End(
                status=status,
                epochs=epochs,
                seconds=sum(report["seconds"] for report in reports),
                **cause,
            )
            close_trial(folder, end, keep_state=config.stage == "search")
            self.searcher.conclude(config, end, validation_scores(reports))
            notify(self.observers, lambda o: o.trial_ended(config, end, score))
            del self.searcher.running[trial.trial_id]

    @contextmanager
    def _keep_fault(self) -> Iterator[None]:
        """Keep the first error of storage in the block, for `on_step_end`."""
        try:
            yield
        except StorageError as fault:
            self._fault = self._fault or fault
