"""What the driver does at each of Tune's events: close trials on disk, then tell the observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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
    """Someone who wants to know, such as a progress display or a tracking server's mirror."""

    def trial_started(self, config: TrialConfig) -> None:
        """A trial begins, or is taken up again."""

    def trial_reported(self, config: TrialConfig, epoch: int, score: float | None) -> None:
        """An epoch is on disk."""

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """A trial is closed on disk."""


class LedgerCallback(Callback):
    """Closes trials in the ledger, tells the search how they ended, then the observers.

    No observer's fault may reach Tune: it would end the study.

    Args:
        folder: the study.
        conclude: hears how each trial ended, and its last score.
        observers: hear of it afterwards.
        max_epoch_seconds: after which a worker has ended itself, where it hung.
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
        """Give nothing to Tune's own snapshot of an experiment, which is never read."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """See `Callback`."""
        self._tell(lambda o: o.trial_started(_config(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """See `Callback`."""
        if not result.get("failed"):
            config = _config(trial)
            self._tell(lambda o: o.trial_reported(config, result["epoch"], result.get("score")))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """See `Callback`; a trial that raised or was stopped comes here too."""
        result = trial.last_result or {}
        score = result.get("score")
        if result.get("storage"):  # it has not ended, and goes on when the study is resumed
            self._fault = self._fault or StorageError(result["error"])
        elif result.get("failed"):
            told = {name: result[name] for name in ("reason", "error", "unfit")}
            self._close(trial, "failed", score=None, **told)
        elif result.get("epoch", -1) >= result.get("epochs", 0):
            self._close(trial, "finished", score=score)
        else:
            reason = f"successive halving at epoch {result.get('epoch')}"
            self._close(trial, "stopped", score=score, reason=reason)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """See `Callback`: the worker died more often than is allowed."""
        error = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        last = error.rpartition("Failure #")[2].partition(MEMORY_REPORT)[0]
        try:
            hang = read_hang(self._folder.trial(_config(trial).trial_id))
        except StorageError as fault:
            self._fault = self._fault or fault
            return
        told: dict[str, Any] = {"reason": "its worker died", "error": last}
        if hang is not None:
            reason = f"no epoch within {self._max_epoch_seconds:g} seconds"
            told = {"reason": reason, "error": hang, "unfit": True}
        elif RAISED in last:
            told["reason"] = last.strip().splitlines()[-1]
        elif LOW_ON_MEMORY in last:
            told["reason"] = "out of memory: Ray killed its worker to keep the machine alive"
            told["unfit"] = True
        self._close(trial, "failed", score=None, **told)

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """End the study where the ledger cannot be written: Tune ends a trial at most for it."""
        if self._fault is not None:
            raise self._fault

    def _close(self, trial: Trial, status: Status, *, score: float | None, **told: Any) -> None:
        config = _config(trial)
        folder = self._folder.trial(config.trial_id)
        try:
            reports = folder.reports
            end = End(
                status=status,
                epochs=reports[-1]["epoch"] if reports else 0,
                seconds=sum(report["seconds"] for report in reports),
                **told,
            )
            close_trial(folder, end)
        except StorageError as fault:
            self._fault = self._fault or fault
            return
        self._conclude(config, end, score)
        forget_results(trial)
        self._tell(lambda o: o.trial_ended(config, end, score))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                logger.exception("%s failed; the study goes on", type(observer).__name__)


def _config(trial: Trial) -> TrialConfig:
    return TrialConfig.model_validate(trial.config)
