"""The groups of a search: who proposes its trials, and how many each.

Baselines are trained as they are given, before anything is proposed. Then the groups take turns in
proportion to their planned numbers, so that a limit of time cuts all alike.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import qmc

from study.config.labels import OPEN, PUBLISHED, TUNED
from study.config.methods import TrainedMethod
from study.config.trial_settings import TrialSettings, rate_column
from study.method.parameters import METHOD
from study.search.recorded_trials import RecordedTrial
from study.search.samplers import Sampler, sampler_named, seed_from_text
from study.search.space import Ranges, Space
from study.storage.atomic import write_atomically
from study.trial.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)

JOURNAL = "optuna.journal"
"""The file with Optuna's study once the search has ended, for whoever opens it by Optuna."""
TRIAL_ID = "trial"
"""The user attribute with the id of a trial, which the report and MLflow have."""
BEST, NEWEST = 25, 275
"""How many of the best and of the newest trials a proposal of a long search is made from.

TPE models at most 25 trials as good; all others only show what to avoid. To copy thousands of them
for each proposal would take longer than what is learned from them.
"""


@dataclass
class Group(ABC):
    """A part of a search, which proposes a planned number of trials."""

    name: str
    planned: int
    seed: int
    """The study's seed."""
    started: int = field(default=0, kw_only=True)
    """The number of its trials that have a folder."""

    @abstractmethod
    def propose(self, number: int, attempt: int) -> TrialSettings:
        """Return the settings of the next trial.

        Args:
            number: the number that the trial will have.
            attempt: how many proposals for it were rejected.
        """

    def reject(self, number: int) -> None:  # noqa: B027 (most groups need not know)
        """Take note that the proposal for a trial was tried before, so that it is not trained."""

    def tell(self, trial: RecordedTrial) -> None:  # noqa: B027
        """Take note of a trial of any group that ended."""

    def write(self, folder: Path) -> None:  # noqa: B027
        """Write what the group knows into the study's folder, once the search has ended."""


@dataclass
class QuasiRandom(Group):
    """One subset or method at quasi-random points of its learning rates, and of λ if it has any."""

    ranges: Ranges
    settings: Callable[[Mapping[str, float]], TrialSettings]
    """Returns the settings of a point."""

    def propose(self, number: int, attempt: int) -> TrialSettings:
        """See `Group.propose`."""
        return self.settings(sobol_point(f"{self.seed}/{self.name}", self.started, self.ranges))


def _method_settings(method: TrainedMethod, point: Mapping[str, float]) -> TrialSettings:
    """Return the settings of another method at a learning rate."""
    own = method.model_copy(update={"lr": point[rate_column(METHOD)]})
    return TrialSettings(subset="none", method=own)


@dataclass
class Open(Group):
    """What Optuna proposes over subsets, windows of layers, learning rates and λ.

    Optuna knows every trial whose settings the open space contains; of a long search, the best and
    the newest. Tuned CLIPFit's trials and baselines are among them. A proposal depends on its seed
    and on these trials in the order of their numbers alone, so that a study that goes on proposes
    what it would have proposed without an interruption.
    """

    space: Space
    sampler: Sampler
    """Makes the sampler of each proposal from a seed."""
    _trials: dict[int, FrozenTrial] = field(default_factory=dict, init=False)

    def propose(self, number: int, attempt: int) -> TrialSettings:
        """See `Group.propose`."""
        study = self._make_study(self._known_trials())
        # The turn counts recorded trials: a driver may die between a proposal and its folder.
        seed = seed_from_text(f"{self.seed}/{self.name}/{self.started}/{attempt}")
        study.sampler = self.sampler(seed)
        settings = self.space.suggest(study.ask())
        self._add(number, settings, state=TrialState.RUNNING)
        return settings

    def reject(self, number: int) -> None:
        """See `Group.reject`."""
        self._trials.pop(number, None)

    def tell(self, trial: RecordedTrial) -> None:
        """See `Group.tell`.

        That of a failed machine says nothing, and is left out. A trial that its own configuration
        made fail counts as stopped with the worst score, so that the sampler avoids its region.
        """
        config, end, scores = trial.config, trial.end, trial.scores
        self.reject(config.number)
        if end is None or (end.status == "failed" and not end.caused_by_settings):
            return
        if end.caused_by_settings:
            scores[end.epochs + 1] = 0.0
        self._add(
            config.number,
            config.settings,
            state=TrialState.COMPLETE if end.status == "finished" else TrialState.PRUNED,
            value=scores[max(scores)] if scores else None,
            intermediate_values=scores,
            user_attrs={TRIAL_ID: config.trial_id},
        )

    def write(self, folder: Path) -> None:
        """Write Optuna's study into a folder as `JOURNAL`, in the place of an earlier one.

        Raises:
            StorageError: the folder cannot be written.
        """
        journal = _Journal()
        self._make_study(self._trials, JournalStorage(journal))
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in journal.logs]
        write_atomically(folder / JOURNAL, "".join(lines), existing=folder)

    def _add(self, number: int, settings: TrialSettings, **outcome: Any) -> None:
        """Add a trial by the choices that lead to its settings, unless the space has none."""
        choices = self.space.encode(settings)
        if choices:
            self._trials[number] = create_trial(
                params=choices.params, distributions=choices.distributions, **outcome
            )

    def _known_trials(self) -> Collection[int]:
        """Return the numbers of the trials that a proposal is made from."""
        if len(self._trials) <= BEST + NEWEST:
            return self._trials
        complete = [n for n, trial in self._trials.items() if trial.state == TrialState.COMPLETE]
        best = sorted(complete, key=lambda n: (-self._trials[n].values[0], n))[:BEST]
        return {*best, *sorted(self._trials)[-NEWEST:]}

    def _make_study(
        self, numbers: Collection[int], storage: JournalStorage | None = None
    ) -> optuna.Study:
        """Return a study of trials by their numbers, which is in memory if no storage is given."""
        study = optuna.create_study(storage=storage, study_name=OPEN, direction="maximize")
        study.add_trials(self._trials[number] for number in sorted(numbers))
        return study


class _Journal(BaseJournalBackend):
    """The lines of a journal in memory, so that the file is written in one step."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Return the lines from a number on."""
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines."""
        self.logs += logs


def sobol_point(seed: str, index: int, ranges: Ranges) -> dict[str, float]:
    """Return a point of a scrambled Sobol sequence (Owen 1998) in logarithmic ranges.

    Args:
        seed: what decides the scrambling.
        index: the position in the sequence; the point depends on it and the seed alone.
        ranges: the lower and the upper end of each number.

    Returns:
        The numbers by the names of their ranges.
    """
    sequence = qmc.Sobol(len(ranges), rng=np.random.default_rng(seed_from_text(seed)))
    if index:  # scipy cannot skip none
        sequence.fast_forward(index)
    (point,) = sequence.random(1)
    return {
        name: float(low * (high / low) ** share)
        for (name, (low, high)), share in zip(ranges.items(), point, strict=True)
    }


def plan_groups(study: Study) -> Sequence[Group]:
    """Return the groups of a study that propose trials, as if none had been proposed."""
    search, seed = study.config.search, study.config.seed
    space = Space(
        search.space,
        study.architecture.depths,
        study.config.training.regularizer,
        study.protocol.alpha,
    )
    subset = search.fixed_baselines[PUBLISHED].subset
    groups: list[Group] = [
        QuasiRandom(
            TUNED,
            search.tuned_trials,
            seed,
            space.ranges(subset),
            partial(space.settings, subset),
        ),
        Open(OPEN, search.open_trials, seed, space, sampler_named(search.sampler)),
    ]
    for label, method in search.searched_methods.items():
        ranges = {rate_column(METHOD): method.rates}
        settings = partial(_method_settings, method)
        groups.append(QuasiRandom(label, search.method_trials, seed, ranges, settings))
    return groups
