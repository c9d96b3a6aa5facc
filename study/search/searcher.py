"""What Tune calls: a searcher that it asks for trials, and a callback that closes them on disk.

Trials come from a queue of fixed configurations first, then from the proposals of the arms.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import TrialState
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from study.config.settings import Settings
from study.search.internals import LOW_ON_MEMORY, MEMORY_REPORT, RAISED, forget_results
from study.search.optuna_arm import Arm, Outcome
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
        self._configs: dict[str, TrialConfig] = {}
        """The configuration of each trial under way, by Tune's id of the trial."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Notify the observers that a trial starts."""
        notify(self._observers, lambda o: o.trial_started(self._config(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Notify the observers of an epoch's result."""
        if not result.get("failed"):
            config = self._config(trial)
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
            hang = read_hang(self._folder.trial(self._config(trial).trial_id))
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

    def _config(self, trial: Trial) -> TrialConfig:
        if trial.trial_id not in self._configs:
            self._configs[trial.trial_id] = TrialConfig.model_validate(trial.config)
        return self._configs[trial.trial_id]

    def _close(self, trial: Trial, status: Status, *, score: float | None, **cause: Any) -> None:
        config = self._config(trial)
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
        del self._configs[trial.trial_id]


def notify(observers: Iterable[Observer], call: Callable[[Observer], None]) -> None:
    """Call each observer; only log what one raises, which must not end the study."""
    for observer in observers:
        try:
            call(observer)
        except Exception:
            logger.exception("%s failed; the study goes on", type(observer).__name__)


class StudySearcher(Searcher):
    """A source of trials that records each in the ledger before it returns it to Tune.

    Args:
        folder: the study's folder.
        queue: the configurations that are already fixed: trials to resume, baselines,
            confirmations.
        arms: the searches with their budgets; the one furthest behind its budget proposes next.
        make_config: a function that completes a proposal from settings, arm, trial number and
            Optuna number; needed if there are arms.
        ended: the trials of this stage that have ended, with their outcomes, by trial id.
        next_number: the number of the next trial that an arm proposes.
    """

    def __init__(
        self,
        folder: StudyFolder,
        queue: Iterable[TrialConfig],
        *,
        arms: Sequence[Arm] = (),
        make_config: Callable[[Settings, str, int, int], TrialConfig] | None = None,
        ended: Mapping[str, tuple[TrialConfig, Outcome]] | None = None,
        next_number: int = 0,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self._folder = folder
        self._queue = deque(queue)
        self._arms = {arm.name: arm for arm in arms}
        self._make_config = make_config
        self._running: dict[str, TrialConfig] = {}
        self._outcomes = {_identity(c): outcome for c, outcome in (ended or {}).values()}
        self._started = {_identity(config) for config in self._queue}
        self._next_number = next_number

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial's configuration, or ``Searcher.FINISHED`` if there is none."""
        config = self._queue.popleft() if self._queue else self._ask_arms()
        if config is None:
            return Searcher.FINISHED
        self._folder.trial(config.trial_id).create(config.model_dump(mode="json"))
        self._running[trial_id] = config
        self._started.add(_identity(config))
        return config.model_dump(mode="json")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch's score to the arm that proposed the trial."""
        config = self._running.get(trial_id)
        if config is None or config.optuna_number is None or result.get("failed"):
            return
        if result.get("score") is not None:
            self._arms[config.arm].report(config.optuna_number, result["epoch"], result["score"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forget Tune's id of the trial; `conclude` receives how it ended."""
        self._running.pop(trial_id, None)

    def conclude(self, config: TrialConfig, end: End, score: float | None) -> None:
        """Report to the arms how a trial ended and the score of its last epoch, a fraction."""
        outcome = outcome_of(end, score)
        self._outcomes[_identity(config)] = outcome
        try:
            if config.optuna_number is not None:
                self._arms[config.arm].tell(config.optuna_number, outcome)
            for arm in self._arms.values() if config.arm == "baseline" else ():
                arm.learn(config.settings, outcome, config.label)
        except StorageError as error:  # if it were raised, Tune would start the trial again
            logger.warning(
                "%s; %s is reported to its arm when the study is resumed", error, config.trial_id
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def _ask_arms(self) -> TrialConfig | None:
        behind = sorted(
            (arm for arm in self._arms.values() if arm.started < arm.budget),
            key=lambda arm: (arm.started / arm.budget, arm.name),
        )
        for arm in behind:
            answer = arm.ask(lambda settings: self._known(arm, settings))  # noqa: B023
            if answer is None:
                arm.budget = arm.started
                continue
            optuna_number, settings = answer
            config = self._config(settings, arm.name, optuna_number)
            self._next_number += 1
            return config
        return None

    def _known(self, arm: Arm, settings: Settings) -> Outcome | None:
        if (identity := _identity(self._config(settings, arm.name, 0))) in self._outcomes:
            return self._outcomes[identity]
        return Outcome(None, TrialState.RUNNING) if identity in self._started else None

    def _config(self, settings: Settings, arm: str, optuna_number: int) -> TrialConfig:
        if self._make_config is None:
            raise TypeError("a searcher with arms needs make_config")
        return self._make_config(settings, arm, self._next_number, optuna_number)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger and Optuna's journal hold everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a study is resumed from its ledger."""


def outcome_of(end: End, score: float | None) -> Outcome:
    """Return the outcome of a trial for its arm.

    If the configuration itself made the trial fail, it counts as pruned with the worst score: the
    sampler learns that its region is bad. A failure of a machine says nothing about it.

    Args:
        end: how the trial ended.
        score: the score of its last epoch, as a fraction; None means there is none.
    """
    if end.status == "failed" and not end.unfit:
        return Outcome(None, TrialState.FAIL, end.epochs)
    if end.status == "failed":
        # The trial failed in the epoch after its last completed one.
        return Outcome(0.0, TrialState.PRUNED, end.epochs + 1)
    state = TrialState.COMPLETE if end.status == "finished" else TrialState.PRUNED
    return Outcome(score, state, end.epochs)


def _identity(config: TrialConfig) -> tuple[Any, ...]:
    """Return a key that is equal for two trials with the same training."""
    label = config.label if config.stage == "confirm" else None
    settings = config.settings
    return config.seed, label, config.subset_key, settings.distill_weight, *settings.rates.items()
