"""The driver's reactions to Tune's events: close trials on disk, then notify the observers."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial

from study.search.internals import LOW_ON_MEMORY, MEMORY_REPORT, RAISED, forget_results
from study.search.recording import close_trial, read_hang
from study.storage.atomic import StorageError
from study.storage.ledger import End, Status, StudyFolder
from study.trial import TrialConfig

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """A listener to trials, such as a progress display or the mirror of a tracking server."""

    def trial_started(self, config: TrialConfig) -> None:
        """React to a trial that starts or is resumed."""

    def trial_reported(self, config: TrialConfig, epoch: int, score: float | None) -> None:
        """React to an epoch that is recorded on disk.

        Args:
            config: the trial's configuration.
            epoch: the number of completed epochs.
            score: the score of the epoch, as a fraction; None means it was not evaluated.
        """

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """React to a trial that is closed on disk.

        Args:
            config: the trial's configuration.
            end: how the trial ended.
            score: its last score, as a fraction; None means there is none.
        """


class LedgerCallback(Callback):
    """A callback that closes trials in the ledger, then notifies the search and the observers.

    An observer's exception must not reach Tune, which would end the study.

    Args:
        folder: the study's folder.
        conclude: a function that is called with each trial's configuration, end and last score.
        observers: the listeners that are notified after it.
        max_epoch_seconds: the time limit of an epoch, in seconds, at which a hanging worker ends
            itself; None means no limit.
    """

    def __init__(
        self,
        folder: StudyFolder,
        conclude: Callable[[TrialConfig, End, float | None], None],
        observers: Sequence[Observer],
        max_epoch_seconds: float | None,
    ) -> None:
        self._folder = folder
        self._conclude = conclude
        self._observers = observers
        self._max_epoch_seconds = max_epoch_seconds
        self._fault: StorageError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Notify the observers that a trial starts."""
        notify(self._observers, lambda o: o.trial_started(_config(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Notify the observers of an epoch's result."""
        if not result.get("failed"):
            config = _config(trial)
            notify(
                self._observers,
                lambda o: o.trial_reported(config, result["epoch"], result.get("score")),
            )

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """Close a trial; Tune also calls this for one that raised or was stopped."""
        result = trial.last_result or {}
        score = result.get("score")
        if result.get("storage"):  # the trial has not ended: a resumed study continues it
            self._fault = self._fault or StorageError(result["error"])
        elif result.get("failed"):
            failure = {name: result[name] for name in ("reason", "error", "unfit")}
            self._close(trial, "failed", score=None, **failure)
        elif result.get("epoch", -1) >= result.get("epochs", 0):
            self._close(trial, "finished", score=score)
        else:
            reason = f"successive halving at epoch {result.get('epoch')}"
            self._close(trial, "stopped", score=score, reason=reason)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Close a trial whose worker died more often than is allowed."""
        error = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        last_failure = error.rpartition("Failure #")[2].partition(MEMORY_REPORT)[0]
        try:
            hang = read_hang(self._folder.trial(_config(trial).trial_id))
        except StorageError as fault:
            self._fault = self._fault or fault
            return
        failure: dict[str, Any] = {"reason": "its worker died", "error": last_failure}
        if hang is not None:
            reason = f"no epoch within {self._max_epoch_seconds:g} seconds"
            failure = {"reason": reason, "error": hang, "unfit": True}
        elif RAISED in last_failure:
            failure["reason"] = last_failure.strip().splitlines()[-1]
        elif LOW_ON_MEMORY in last_failure:
            failure["reason"] = "out of memory: Ray killed its worker to keep the machine alive"
            failure["unfit"] = True
        self._close(trial, "failed", score=None, **failure)

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """End the study if the ledger cannot be read or written.

        Tune would end only a trial for such an error in another event.

        Raises:
            StorageError: the first error of storage in an earlier event.
        """
        if self._fault is not None:
            raise self._fault

    def _close(self, trial: Trial, status: Status, *, score: float | None, **cause: Any) -> None:
        config = _config(trial)
        folder = self._folder.trial(config.trial_id)
        try:
            reports = folder.read_reports()
            end = End(
                status=status,
                epochs=reports[-1]["epoch"] if reports else 0,
                seconds=sum(report["seconds"] for report in reports),
                **cause,
            )
            close_trial(folder, end)
        except StorageError as fault:
            self._fault = self._fault or fault
            return
        self._conclude(config, end, score)
        forget_results(trial)
        notify(self._observers, lambda o: o.trial_ended(config, end, score))


def notify(observers: Iterable[Observer], call: Callable[[Observer], None]) -> None:
    """Call each observer; only log what one raises, which must not end the study."""
    for observer in observers:
        try:
            call(observer)
        except Exception:
            logger.exception("%s failed; the study goes on", type(observer).__name__)


def _config(trial: Trial) -> TrialConfig:
    return TrialConfig.model_validate(trial.config)
