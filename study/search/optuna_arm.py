"""An arm: one Optuna study that proposes configurations and hears how they did."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from study.search.internals import reopen_trial
from study.search.journal import open_journal, read_journal
from study.search.space import OpenSpace, Proposal, RateSpace

logger = logging.getLogger(__name__)

SamplerName = Literal["tpe", "random"]
ASKS_BEFORE_GIVING_UP = 50
"""Proposals that were all tried before, after which a space counts as exhausted."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, as an arm is told of it."""

    score: float | None
    """Of the last epoch; None where there is none."""
    state: TrialState
    """COMPLETE after all epochs; PRUNED when stopped before, or unfit; FAIL when it could not be
    tried."""
    epoch: int | None = None
    """That it ended in; None where that is not known."""


@dataclass(frozen=True)
class Recorded:
    """What the ledger holds of a trial that an arm proposed."""

    number: int
    """In the arm's Optuna study."""
    proposal: Proposal
    scores: Mapping[int, float]
    """By epoch."""


@dataclass
class Arm:
    """One line of search with a budget of trials."""

    name: str
    study: optuna.Study
    budget: int
    space: OpenSpace | RateSpace
    sampler: SamplerName
    seed: int
    started: int = 0
    """Trials that were proposed and recorded."""
    _open: dict[int, optuna.Trial] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Give the part of the budget that has been started."""
        return self.started / self.budget if self.budget else 1.0

    @property
    def begun(self) -> bool:
        """Tell whether its Optuna study has any trial."""
        return bool(self.study.get_trials(deepcopy=False))

    def ask(self, known: Callable[[Proposal], Outcome | None]) -> tuple[int, Proposal] | None:
        """Get a proposal that was not tried before, with its Optuna number.

        A proposal that ``known`` recognises is told to Optuna with the outcome it had, and another
        is asked for. None when nothing new comes: the space is exhausted.
        """
        for attempt in range(ASKS_BEFORE_GIVING_UP):
            # By what was recorded, not by what was asked: a driver may die between the two.
            turn = f"{self.seed}/{self.name}/{self.started}/{attempt}"
            self.study.sampler = make_sampler(self.sampler, turn)
            trial = self.study.ask()
            proposal = self.space.suggest(trial)
            outcome = known(proposal)
            if outcome is None:
                self.started += 1
                self._open[trial.number] = trial
                return trial.number, proposal
            if outcome.state is TrialState.COMPLETE:
                self.study.tell(trial, outcome.score)
            else:
                self.study.tell(trial, state=TrialState.FAIL)
        logger.warning("%s: no proposal that was not tried before; its search ends", self.name)
        return None

    def report(self, number: int, epoch: int, score: float) -> None:
        """Record an intermediate score; an epoch reported before keeps its first value."""
        trial = self._trial(number)
        if trial is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a resumed trial repeats its epoch
                trial.report(score, epoch)

    def tell(self, number: int, outcome: Outcome) -> None:
        """Close a proposal; closing it again changes nothing."""
        if self._trial(number) is None:
            return
        score, epoch = outcome.score, outcome.epoch
        if outcome.state is TrialState.PRUNED and score is not None and epoch is not None:
            # Tune does not tell a searcher of the result that a trial was stopped at.
            self.report(number, epoch, score)
        value = outcome.score if outcome.state is TrialState.COMPLETE else None
        self.study.tell(number, value, state=outcome.state)
        self._open.pop(number, None)

    def learn(self, proposal: Proposal, outcome: Outcome, label: str) -> None:
        """Add a baseline that this arm's space could have proposed, once."""
        known = {t.user_attrs.get("label") for t in self.study.get_trials(deepcopy=False)}
        choices = self.space.encode(proposal)
        if choices is None or label in known or outcome.state is not TrialState.COMPLETE:
            return
        self.study.add_trial(
            optuna.trial.create_trial(
                value=outcome.score,
                params={name: value for name, (value, _) in choices.items()},
                distributions={name: distribution for name, (_, distribution) in choices.items()},
                user_attrs={"label": label},
            )
        )

    def try_first(self, journal: Path) -> int:
        """Ask first for what did best in another study's arm of the same name; give how many.

        At most a quarter of the budget, and as configurations to try: scores on another dataset
        would not compare with those of this one.
        """
        storage = read_journal(journal)
        if self.name not in optuna.get_all_study_names(storage):
            return 0
        other = optuna.load_study(storage=storage, study_name=self.name)
        done = other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = sorted(done, key=lambda trial: (-(trial.value or 0.0), trial.number))
        # A baseline is tried anyway, at its own rates.
        fitting = [t for t in best if "label" not in t.user_attrs and self.space.fits(t.params)]
        before = len(self.study.get_trials(deepcopy=False))
        for trial in fitting[: math.ceil(self.budget / 4)]:
            self.study.enqueue_trial(trial.params, skip_if_exists=True)
        return len(self.study.get_trials(deepcopy=False)) - before

    def fail_orphans(self, numbers: set[int]) -> None:
        """Close proposals left open by a driver that died before their trial was recorded."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in numbers:
                self.study.tell(trial.number, state=TrialState.FAIL)
                if first := trial.system_attrs.get("fixed_params"):
                    self.study.enqueue_trial(first)

    def agrees_with(self, recorded: Iterable[Recorded]) -> bool:
        """Tell whether the journal holds what the ledger does of the trials proposed here."""
        trials = self.study.get_trials(deepcopy=False)
        return all(r.number < len(trials) and self._is(trials[r.number], r) for r in recorded)

    def remember(self, recorded: Iterable[Recorded]) -> None:
        """Put trials back under their numbers into a journal that was begun anew; still open."""
        by_number = {r.number: r for r in recorded}
        for number in range(
            len(self.study.get_trials(deepcopy=False)), max(by_number, default=-1) + 1
        ):
            choices = self.space.encode(by_number[number].proposal) if number in by_number else None
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.RUNNING if number in by_number else TrialState.FAIL,
                    params={name: value for name, (value, _) in (choices or {}).items()},
                    distributions={name: kind for name, (_, kind) in (choices or {}).items()},
                )
            )

    def _is(self, trial: FrozenTrial, recorded: Recorded) -> bool:
        told = trial.intermediate_values
        if trial.state is TrialState.COMPLETE:
            told = told | {max(recorded.scores, default=0): trial.value}
        if any(recorded.scores.get(epoch, score) != score for epoch, score in told.items()):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a number out of its range
                return self.space.suggest(FixedTrial(trial.params)) == recorded.proposal
        except ValueError:  # a choice is missing
            return False

    def _trial(self, number: int) -> optuna.Trial | None:
        if number not in self._open:
            trials = self.study.get_trials(deepcopy=False)
            # A ledger without its journal goes on with a sampler that begins anew.
            if number >= len(trials) or trials[number].state.is_finished():
                return None
            self._open[number] = reopen_trial(self.study, trials[number])
        return self._open[number]


def open_arm(
    path: Path,
    name: str,
    *,
    budget: int,
    space: OpenSpace | RateSpace,
    sampler: SamplerName,
    seed: int,
) -> Arm:
    """Open or create an arm's Optuna study in a journal file, which suits shared file systems."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=open_journal(path),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )
    return Arm(name, study, budget, space, sampler, seed)


def make_sampler(name: SamplerName, seed: str) -> optuna.samplers.BaseSampler:
    """Give a sampler whose choice depends on the history and the seed, not on this process.

    A new one for every proposal: a study that was interrupted then goes on as it would have.
    """
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    if name == "random":
        return optuna.samplers.RandomSampler(seed=number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, seed=number
        )
