"""The learning rates at which an ablation's cell is tried, and the rates beyond these."""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from study.backbones.architecture import Depths
from study.config.schema import AblationConfig
from study.config.value_types import HIGHEST_RATE
from study.method.parameters import kind_names
from study.method.subsets import Subset, kinds

Rates = Mapping[str, float]
"""The learning rate of each kind of parameter."""
MOST_EXTENSIONS = 3
"""How often the grid of a cell is extended at most, each time by one rate at each bound reached."""


class RateGrid(NamedTuple):
    """The learning rates of a cell, which is tried at every combination of one from each list."""

    rates: Mapping[tuple[str, ...], tuple[float, ...]]
    """The lists of rates, by the kinds of parameter that share one rate."""
    subset: Subset
    """The subset of the cell."""

    @classmethod
    def of_config(cls, ablation: AblationConfig, subset: Subset, depths: Depths) -> "RateGrid":
        """Return the grid of a cell as it is configured.

        Args:
            ablation: the configuration of the ablation.
            subset: the subset of the cell; of kinds of parameter that it lacks, no rate is tried.
            depths: the numbers of layers of the encoders.
        """
        tuned = kinds(subset.resolve(depths))
        groups: list[tuple[str, ...]] = []
        if isinstance(ablation.rates, Mapping):
            groups = [(kind,) for kind in kind_names() if kind in tuned]
        elif tuned:
            groups = [kind_names()]
        return cls({group: ablation.rates_for(group[0]) for group in groups}, subset)

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(map(len, self.rates.values()))

    def size_after(self, extensions: int) -> int:
        """Return the largest number of combinations after some extensions."""
        size = 1
        for rates in self.rates.values():
            count = len(rates)
            if count > 1:
                count += extensions
            size *= count
        return size

    def combinations(self) -> list[dict[str, float]]:
        """Return the rate of each kind, for every combination."""
        combinations = []
        for point in itertools.product(*self.rates.values()):
            rates = {}
            for group, rate in zip(self.rates, point, strict=True):
                rates.update(dict.fromkeys(group, rate))
            combinations.append(rates)
        return combinations

    def contains(self, rates: Rates) -> bool:
        """Return whether a combination, which may lack kinds that are not tuned, is in the grid."""
        return all(
            rates[kind] in tried
            for group, tried in self.rates.items()
            for kind in group
            if kind in rates
        )

    def describe(self, rates: Rates) -> str:
        """Return rates by kind as text: a shared one as a number, others beside their kind."""
        texts = []
        for group in self.rates:
            kind = group[0]
            if kind in rates:
                text = f"{rates[kind]:.3g}"
                if len(group) == 1:
                    text = f"{kind} {text}"
                texts.append(text)
        return ", ".join(texts)

    def next_rates(self, best: Rates) -> dict[str, float]:
        """Return the next rate of each kind whose best rate is the lowest or highest of several.

        The next rate is to the best one as that is to its neighbour in the grid.

        Args:
            best: the best rate of each kind that the cell tunes.
        """
        further = {}
        for group, tried in self.rates.items():
            if len(tried) < 2:
                continue
            rates = sorted(tried)
            best_rate = next(best[kind] for kind in group if kind in best)
            for bound, neighbour in ((rates[0], rates[1]), (rates[-1], rates[-2])):
                # Six digits, which are also shown: 0.009, and not 0.009000000000000001.
                rate = float(f"{bound * (bound / neighbour):.6g}")
                if best_rate == bound and 0 < rate <= HIGHEST_RATE and rate not in rates:
                    further.update(dict.fromkeys(group, rate))
        return further

    def extended(self, further: Rates) -> "RateGrid":
        """Return the grid with the rates from `next_rates`, in combination with all others."""
        extended = {}
        for group, tried in self.rates.items():
            added = {further[kind] for kind in group if kind in further}
            extended[group] = (*tried, *added)
        return self._replace(rates=extended)
