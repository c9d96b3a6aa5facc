"""The groups of a search: who proposes its trials, and how many each.

Baselines are trained as they are given, before anything is proposed. Then the groups take turns in
proportion to their planned numbers, so that a limit of time cuts all alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from study.config.baselines import PeerConfig
from study.config.labels import OPEN, PUBLISHED, TUNED
from study.config.trial_settings import TrialSettings, rate_column
from study.method.parameters import PEER
from study.search.open_search import OpenSearch
from study.search.samplers import Sampler, sampler_named, seed_from_text
from study.search.space import Ranges, Space
from study.storage.trial_folder import End
from study.trial.study import Study, TrialConfig


@dataclass
class Group(ABC):
    """A part of a search, which proposes a planned number of trials."""

    name: str
    planned: int
    seed: int
    """The study's seed."""
    started: int = field(default=0, kw_only=True)
    """The number of its trials that have a folder."""

    @property
    def progress(self) -> float:
        """How far the group is, between 0 and 1; the smallest proposes next."""
        return self.started / self.planned

    @abstractmethod
    def propose(self, number: int, attempt: int) -> TrialSettings:
        """Return the settings of the next trial.

        Args:
            number: the number that the trial will have.
            attempt: how many proposals for it were rejected.
        """

    def reject(self, number: int) -> None:  # noqa: B027 (most groups learn nothing)
        """Take note that the proposal for a trial was tried before, so that it is not trained."""

    def learn(  # noqa: B027
        self, config: TrialConfig, end: End, scores: Mapping[int, float]
    ) -> None:
        """Take note of a trial of any group that ended.

        Args:
            config: the trial.
            end: how it ended.
            scores: its validation scores by epoch, as fractions.
        """

    def write(self, folder: Path) -> None:  # noqa: B027
        """Write what the group knows into the study's folder, once the search has ended."""


@dataclass
class TunedClipFit(Group):
    """CLIPFit's own subset at quasi-random points of its learning rates and λ."""

    space: Space
    subset: str

    def propose(self, number: int, attempt: int) -> TrialSettings:
        """See `Group.propose`."""
        ranges = self.space.ranges(self.subset)
        point = sobol_point(f"{self.seed}/{self.name}", self.started, ranges)
        return self.space.settings(self.subset, point)


@dataclass
class MethodRate(Group):
    """Another method at quasi-random points of its learning rate."""

    method: PeerConfig

    def propose(self, number: int, attempt: int) -> TrialSettings:
        """See `Group.propose`."""
        lr = rate_column(PEER)
        point = sobol_point(f"{self.seed}/{self.name}", self.started, {lr: self.method.lr})
        return TrialSettings(subset="none", peer=self.method.with_rate(point[lr]))


@dataclass
class Open(Group):
    """What Optuna proposes over subsets, windows of layers, learning rates and λ."""

    optuna: OpenSearch

    def propose(self, number: int, attempt: int) -> TrialSettings:
        """See `Group.propose`."""
        # The turn counts recorded trials: a driver may die between a proposal and its folder.
        seed = seed_from_text(f"{self.seed}/{self.name}/{self.started}/{attempt}")
        return self.optuna.propose(number, seed)

    def reject(self, number: int) -> None:
        """See `Group.reject`."""
        self.optuna.reject(number)

    def learn(self, config: TrialConfig, end: End, scores: Mapping[int, float]) -> None:
        """See `Group.learn`."""
        self.optuna.learn(config, end, scores)

    def write(self, folder: Path) -> None:
        """See `Group.write`."""
        self.optuna.write(folder)


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


def plan_groups(study: Study, sampler: Sampler | None = None) -> Sequence[Group]:
    """Return the groups of a study that propose trials, as if none had been proposed.

    Args:
        study: the study.
        sampler: the sampler of the open search, if it is not found by its name.
    """
    search, seed = study.config.search, study.config.seed
    space = Space(
        search.space,
        study.architecture.depths,
        study.config.training.regularizer,
        study.protocol.strength,
    )
    optuna = OpenSearch(space, sampler_named(search.sampler, sampler))
    subset = search.fixed_baselines[PUBLISHED].subset
    groups: list[Group] = [
        TunedClipFit(TUNED, search.tuned_trials, seed, space, subset),
        Open(OPEN, search.open_trials, seed, optuna),
    ]
    for label, method in search.searched_methods.items():
        groups.append(MethodRate(label, search.method_trials, seed, method))
    return groups
