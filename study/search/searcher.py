"""The searcher that Tune asks for trials.

Trials come from a queue of fixed configurations first, then from the proposals of the arms. Only
the first trial of a quick arm precedes what trains an encoder.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from optuna.trial import TrialState
from ray.tune.search import Searcher

from study.config.trial_settings import TrialSettings
from study.method.peers import PEERS
from study.search.deadline import Deadline, Result
from study.search.optuna_arm import Arm, Outcome
from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial.study import TrialConfig

logger = logging.getLogger(__name__)

UNDER_WAY = Outcome(None, TrialState.RUNNING)
"""What stands for the outcome of a trial that has not ended."""


class Proposal(NamedTuple):
    """Settings to train, and who proposes them."""

    settings: TrialSettings
    arm: str
    number: int
    """The number of the trial within its stage."""


class Proposers(NamedTuple):
    """The arms that propose trials once the queue is empty, and what they need for it."""

    arms: Sequence[Arm]
    """The searches with their budgets; the one with the smallest `Arm.progress` proposes next.

    An arm that is not listed gets the outcomes of its trials when a later run opens it."""
    make_trial: Callable[[Proposal], TrialConfig]
    ended: Iterable[tuple[TrialConfig, Outcome]] = ()
    """The trials of this stage that have ended, with their outcomes."""
    next_number: int = 0
    """The number of the next trial that an arm proposes."""
    deadline: Deadline | None = None
    """The end of the time after which no arm proposes another trial."""


NO_PROPOSERS = Proposers(arms=(), make_trial=TrialConfig.model_validate)
"""Stands for a queue alone: without arms, no trial is ever made of a proposal."""


class StudySearcher(Searcher):
    """A source of trials that records each in the ledger before it returns it to Tune.

    Args:
        folder: the study's folder.
        queue: the configurations that are already fixed: trials to resume, baselines,
            tests.
        proposers: what proposes trials once the queue is empty.
        before: how trials of the queue had ended before they were reopened, by id.
    """

    def __init__(
        self,
        folder: StudyFolder,
        queue: Iterable[TrialConfig],
        *,
        proposers: Proposers = NO_PROPOSERS,
        before: Mapping[str, End] | None = None,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self.folder = folder
        self.running: dict[str, TrialConfig] = {}
        """The configuration of each trial that is not closed on disk, by Tune's id of the trial."""
        self.before = before or {}
        self._queue = deque(queue)
        self._arms = {arm.name: arm for arm in proposers.arms}
        self._proposers = proposers
        self._next_number = proposers.next_number
        self.deadline = proposers.deadline
        self._outcomes = {config.config_hash: UNDER_WAY for config in self._queue}
        for config, outcome in proposers.ended:
            self._outcomes[config.config_hash] = outcome

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial's configuration, or ``Searcher.FINISHED`` if there is none."""
        config = None
        arms_first = any(arm.begins_first for arm in self._arms.values())
        if not self._queue or (arms_first and trains_encoders(self._queue[0])):
            config = self._ask_arms()
        if not config and self._queue:
            config = self._queue.popleft()
        if not config:
            return Searcher.FINISHED
        self.folder.trial(config.trial_id).create(config.model_dump(mode="json"))
        self.running[trial_id] = config
        self._outcomes.setdefault(config.config_hash, UNDER_WAY)
        return config.model_dump(mode="json")

    def on_trial_result(self, trial_id: str, result: Result) -> None:
        """Report an epoch's score to the arm that proposed the trial."""
        config = self.running.get(trial_id)
        score = result.get("score")
        if not config or score is None or result.get("failed"):
            return
        if config.arm in self._arms:
            self._arms[config.arm].report(config.trial_id, result["epoch"], score)

    def on_trial_complete(
        self, trial_id: str, result: Result | None = None, error: bool = False
    ) -> None:
        """Do nothing: `conclude` receives how a trial ended."""

    def conclude(self, config: TrialConfig, end: End, score: float | None) -> None:
        """Report to the arms how a trial ended and the score of its last epoch, a fraction."""
        outcome = outcome_of(end, score)
        self._outcomes[config.config_hash] = outcome
        try:
            if config.arm in self._arms:
                self._arms[config.arm].tell(config.trial_id, outcome)
            if config.arm == "baseline":
                for arm in self._arms.values():
                    arm.add_baseline(config, outcome)
        except StorageError as error:  # if it were raised, Tune would start the trial again
            logger.warning(
                "%s; the score of %s is taken into account when the study is resumed",
                error,
                config.trial_id,
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def _ask_arms(self) -> TrialConfig | None:
        """Return a trial that the arm with the smallest `Arm.progress` proposes, or None.

        Quick arms begin first.

        An arm that has nothing left to propose gives up the rest of its budget.
        """
        if self.deadline and not self.deadline.allows_another:
            return None
        while True:
            unfinished_arms = [arm for arm in self._arms.values() if arm.started < arm.budget]
            if not unfinished_arms:
                return None
            arm = min(
                unfinished_arms, key=lambda arm: (not arm.begins_first, arm.progress, arm.name)
            )
            trial = self._ask(arm)
            if trial:
                return trial
            arm.budget = arm.started

    def _ask(self, arm: Arm) -> TrialConfig | None:
        """Return the trial that an arm proposes; None means that it has nothing left to propose."""

        @cache  # as the hash of a trial costs more than a look at it
        def trial_of(settings: TrialSettings) -> TrialConfig:
            return self._proposers.make_trial(Proposal(settings, arm.name, self._next_number))

        def known_outcome(settings: TrialSettings) -> Outcome | None:
            return self._outcomes.get(trial_of(settings).config_hash)

        answer = arm.ask(known_outcome)
        if answer is None:
            return None
        optuna_trial, settings = answer
        trial = trial_of(settings)
        arm.name_trial(optuna_trial, trial.trial_id)
        self._next_number += 1
        return trial

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger and Optuna's journal hold everything."""


def outcome_of(end: End, score: float | None) -> Outcome:
    """Return the outcome of a trial for its arm.

    If the configuration itself made the trial fail, it counts as pruned with the worst score: the
    sampler learns that its region is bad. A failure of a machine says nothing about it.

    Args:
        end: how the trial ended.
        score: the score of its last epoch, as a fraction; None means there is none.
    """
    if end.unfit:  # the trial failed in the epoch after its last completed one
        return Outcome(0.0, TrialState.PRUNED, end.epochs + 1)
    if end.status == "failed":
        return Outcome(None, TrialState.FAIL, end.epochs)
    state = TrialState.COMPLETE
    if end.status == "stopped":
        state = TrialState.PRUNED
    return Outcome(score, state, end.epochs)


def trains_encoders(config: TrialConfig) -> bool:
    """Return whether a trial has steps that pass an encoder, so that it costs more than others."""
    peer = config.settings.peer
    return config.epochs > 0 and (peer is None or PEERS[peer.method].passes_encoders)
