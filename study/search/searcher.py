"""The searcher that Tune asks for trials: first queued configurations, then the arms' proposals."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import TrialState
from ray.tune.search import Searcher

from study.config.settings import Settings
from study.search.optuna_arm import Arm, Outcome
from study.storage.atomic import StorageError
from study.storage.ledger import End, StudyFolder
from study.trial import TrialConfig

logger = logging.getLogger(__name__)


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
            key=lambda arm: (arm.share, arm.name),
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
