"""What Tune asks for the next trial: queued configurations first, then the arms in turn."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import TrialState
from ray.tune.search import Searcher

from study.search.optuna_arm import Arm, Outcome
from study.search.space import Proposal
from study.storage.atomic import StorageError
from study.storage.ledger import End, StudyFolder
from study.trial import TrialConfig

logger = logging.getLogger(__name__)

MakeConfig = Callable[[Proposal, str, int, int], TrialConfig]
"""Proposal, arm, trial number and Optuna number to a whole configuration."""


class StudySearcher(Searcher):
    """Hands out trials and records each in the ledger before Tune hears of it.

    Args:
        folder: the study.
        queue: configurations that are already fixed: trials to take up again, baselines,
            confirmations.
        arms: searches with their budgets; the one furthest behind its budget asks next.
        make_config: completes a proposal.
        ended: trials of this stage that have ended, with their outcomes.
        next_number: the number of the next trial that an arm proposes.
    """

    def __init__(
        self,
        folder: StudyFolder,
        queue: Iterable[TrialConfig],
        *,
        arms: Sequence[Arm] = (),
        make_config: MakeConfig | None = None,
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
        """Give the next trial's configuration, or that there is none."""
        config = self._queue.popleft() if self._queue else self._ask_arms()
        if config is None:
            return Searcher.FINISHED
        self._folder.trial(config.trial_id).create(config.model_dump(mode="json"))
        self._running[trial_id] = config
        self._started.add(_identity(config))
        return config.model_dump(mode="json")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an epoch's score on to the arm that proposed the trial."""
        config = self._running.get(trial_id)
        if config is None or config.optuna_number is None or result.get("failed"):
            return
        if result.get("score") is not None:
            self._arms[config.arm].report(config.optuna_number, result["epoch"], result["score"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forget Tune's name of the trial; how it ended is told by `conclude`."""
        self._running.pop(trial_id, None)

    def conclude(self, config: TrialConfig, end: End, score: float | None) -> None:
        """Tell the arms how a trial ended, and the score of its last epoch."""
        outcome = outcome_of(end, score)
        self._outcomes[_identity(config)] = outcome
        try:
            self._tell_arms(config, outcome)
        except StorageError as error:  # Tune would begin the trial again for it
            logger.warning("%s; it is told of %s when the study is resumed", error, config.trial_id)

    def _tell_arms(self, config: TrialConfig, outcome: Outcome) -> None:
        if config.optuna_number is not None:
            self._arms[config.arm].tell(config.optuna_number, outcome)
        for arm in self._arms.values() if config.arm == "baseline" else ():
            arm.learn(proposal_of(config), outcome, config.label)

    def __getstate__(self) -> dict[str, Any]:
        """Give nothing to Tune's own snapshot of an experiment, which is never read."""
        return {}

    def _ask_arms(self) -> TrialConfig | None:
        behind = sorted(
            (arm for arm in self._arms.values() if arm.started < arm.budget),
            key=lambda arm: (arm.share, arm.name),
        )
        for arm in behind:
            asked = arm.ask(lambda proposal: self._known(arm, proposal))  # noqa: B023
            if asked is None:
                arm.budget = arm.started
                continue
            optuna_number, proposal = asked
            config = self._config(proposal, arm.name, optuna_number)
            self._next_number += 1
            return config
        return None

    def _known(self, arm: Arm, proposal: Proposal) -> Outcome | None:
        identity = _identity(self._config(proposal, arm.name, 0))
        if identity in self._outcomes:
            return self._outcomes[identity]
        return Outcome(None, TrialState.RUNNING) if identity in self._started else None

    def _config(self, proposal: Proposal, arm: str, optuna_number: int) -> TrialConfig:
        if self._make_config is None:
            raise TypeError("a searcher with arms needs make_config")
        return self._make_config(proposal, arm, self._next_number, optuna_number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger and Optuna's journal hold it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a study is resumed from its ledger."""


def proposal_of(config: TrialConfig) -> Proposal:
    """Give what a search would have proposed to get this trial."""
    return Proposal(config.subset, config.bias_lr, config.ln_lr, config.distill_weight)


def outcome_of(end: End, score: float | None) -> Outcome:
    """Judge a trial by how it ended.

    One that failed by what it is counts as pruned with the worst score, so that the sampler learns
    that its region is bad; a failure of a machine says nothing about the configuration.

    Args:
        end: of the trial.
        score: of its last epoch.
    """
    if end.status == "failed" and not end.unfit:
        return Outcome(None, TrialState.FAIL, end.epochs)
    if end.status == "failed":
        # In the epoch after the last that it completed.
        return Outcome(0.0, TrialState.PRUNED, end.epochs + 1)
    state = TrialState.COMPLETE if end.status == "finished" else TrialState.PRUNED
    return Outcome(score, state, end.epochs)


def _identity(config: TrialConfig) -> tuple[Any, ...]:
    """Give what makes two trials the same training; learning rates of absent kinds are None."""
    return (
        config.seed,
        config.label if config.stage == "confirm" else None,
        config.subset_key,
        config.bias_lr,
        config.ln_lr,
        config.distill_weight if config.epochs else None,
    )
