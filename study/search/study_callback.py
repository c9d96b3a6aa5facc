"""Close a trial on disk when Tune says that it ended, then notify the search and the observers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from study.search.checkpoints import read_hang
from study.search.observers import notify
from study.search.ray_internals import (
    LOW_ON_MEMORY,
    MEMORY_REPORT,
    RAISED,
    cause_of,
    wait_for_temporary_space,
)
from study.search.recorded_trials import RecordedTrial, close_trial
from study.search.searcher import Round
from study.storage.atomic import StorageError
from study.storage.trial_folder import Status

logger = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class StudyCallback(Callback):
    """A callback that closes trials on disk, then notifies the search and the observers.

    An observer's exception must not reach Tune, which would end the study.

    Args:
        round: the round of the trials that run.
        limit: how many seconds an epoch may take, after which a worker exits; None means no limit.
    """

    round: Round
    limit: float | None = None
    _fault: StorageError | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def on_trial_start(self, trial: Trial, **_: Any) -> None:
        """Notify the observers that a trial starts."""
        config = self.round.searcher.running[trial.trial_id]
        notify(self.round.observers, lambda o: o.trial_started(config))

    def on_trial_result(self, trial: Trial, result: dict[str, Any], **_: Any) -> None:
        """Notify the observers of an epoch's result."""
        if not result.get("failed"):
            config = self.round.searcher.running[trial.trial_id]
            notify(
                self.round.observers,
                lambda o: o.trial_reported(config, result["epoch"], result["metrics"]),
            )

    def on_trial_complete(self, trial: Trial, **_: Any) -> None:
        """Close a trial; Tune also calls this for one that raised or was stopped."""
        result = trial.last_result or {}
        if result.get("storage"):  # the trial has not ended: a resumed study continues it
            self._fault = self._fault or StorageError(result["error"])
        elif result.get("failed"):
            self._close(
                trial, "failed", **{n: result[n] for n in ("reason", "error", "caused_by_settings")}
            )
        elif result.get("epoch", -1) >= result.get("epochs", 0):
            self._close(trial, "finished")
        else:
            config = self.round.searcher.running[trial.trial_id]
            reason = self.round.scheduler.reasons.get(config.trial_id)
            self._close(trial, "stopped", reason=reason)

    def on_trial_recover(self, trial: Trial, **_: Any) -> None:
        """Wait until another worker can start, or remember to end the study."""
        with self._keep_fault():
            wait_for_temporary_space()

    def on_trial_error(self, trial: Trial, **_: Any) -> None:
        """Close a trial whose worker died more often than is allowed."""
        error = ""
        if trial.error_file:
            error = Path(trial.error_file).read_text(errors="replace")
        last_failure = error.rpartition("Failure #")[2].partition(MEMORY_REPORT)[0]
        has_raised = RAISED in last_failure
        lacked_memory = not has_raised and LOW_ON_MEMORY in last_failure
        searcher = self.round.searcher
        folder = searcher.folder.trial(searcher.running[trial.trial_id].trial_id)
        with self._keep_fault():
            if not has_raised:
                wait_for_temporary_space()
            hang = read_hang(folder)
            reason = "its worker died"
            if hang is not None:
                reason = f"no epoch ended within {self.limit:g} seconds"
            elif has_raised:
                reason = cause_of(last_failure)
            elif lacked_memory:
                reason = "out of memory: Ray killed its worker to protect the machine"
            cause = {"reason": reason, "error": hang or last_failure}
            self._close(
                trial, "failed", **cause, caused_by_settings=hang is not None or lacked_memory
            )

    def on_step_end(self, **_: Any) -> None:
        """End the study if the folder cannot be read or written.

        Tune would end only a trial for such an error in another event.

        Raises:
            StorageError: the first error of storage in an earlier event.
        """
        if self._fault:
            raise self._fault

    def _close(self, trial: Trial, status: Status, **cause: Any) -> None:
        searcher = self.round.searcher
        config = searcher.running[trial.trial_id]
        folder = searcher.folder.trial(config.trial_id)
        with self._keep_fault():
            recorded = RecordedTrial(folder, config, None, folder.read_reports(), None)
            searcher.conclude(close_trial(recorded, self.round.observers, status, **cause))
            del searcher.running[trial.trial_id]

    @contextmanager
    def _keep_fault(self) -> Iterator[None]:
        """Keep the first error of storage in the block, for `on_step_end`."""
        try:
            yield
        except StorageError as fault:
            self._fault = self._fault or fault
