"""What the driver does at each of Tune's events: close trials on disk, then tell the observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial

from study.files import StorageError
from study.ledger import End, StudyFolder
from study.search.recording import close_trial
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
    """Closes trials in the ledger. No observer's fault may reach Tune: it would end the study."""

    def __init__(self, folder: StudyFolder, observers: Sequence[Observer]) -> None:
        self._folder = folder
        self._observers = observers
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
        if result.get("storage"):  # it has not ended, and goes on when the study is resumed
            self._fault = self._fault or StorageError(result["error"])
        elif result.get("failed"):
            self._close(trial, "failed", error=result["error"])
        elif result.get("epoch", -1) >= result.get("epochs", 0):
            self._close(trial, "finished", score=result.get("score"))
        else:
            reason = f"successive halving at epoch {result.get('epoch')}"
            self._close(trial, "stopped", reason=reason, score=result.get("score"))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """See `Callback`: the worker died more often than is allowed."""
        error = trial.get_error()
        self._close(trial, "failed", reason="its worker died", error=str(error))

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """End the study where the ledger cannot be written: Tune ends a trial at most for it."""
        if self._fault is not None:
            raise self._fault

    def _close(
        self,
        trial: Trial,
        status: Any,
        *,
        reason: str | None = None,
        error: str | None = None,
        score: float | None = None,
    ) -> None:
        config = _config(trial)
        folder = self._folder.trial(config.trial_id)
        try:
            reports = folder.reports
            end = End(
                status=status,
                epochs=reports[-1]["epoch"] if reports else 0,
                seconds=sum(report["seconds"] for report in reports),
                reason=reason,
                error=error,
            )
            close_trial(folder, end)
        except StorageError as fault:
            self._fault = self._fault or fault
            return
        self._tell(lambda o: o.trial_ended(config, end, score))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                logger.exception("%s failed; the study goes on", type(observer).__name__)


def _config(trial: Trial) -> TrialConfig:
    return TrialConfig.model_validate(trial.config)
