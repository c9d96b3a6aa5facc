"""The learning rates at which an ablation's cell is tried, and what is tried beyond them."""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from study.config.schema import AblationConfig
from study.config.trial_settings import HIGHEST_RATE
from study.method.parameters import kind_names

MOST_EXTENSIONS = 3
"""How often the grid of a cell is extended at most, each time by one rate at each bound reached."""


@dataclass(frozen=True)
class RateGrid:
    """The learning rates of a cell, which is tried at every combination of one from each list."""

    rates: Mapping[tuple[str, ...], tuple[float, ...]]
    """The lists of rates, by the kinds of parameter that share one rate."""

    @classmethod
    def planned(cls, ablation: AblationConfig, tuned: Collection[str]) -> "RateGrid":
        """Return the grid of a cell as it is configured.

        Args:
            ablation: the configuration of the ablation.
            tuned: the kinds of parameter that the cell tunes; of other kinds no rate is tried.
        """
        shared = [kind_names()] if tuned else []
        own = [(kind,) for kind in kind_names() if kind in tuned]
        groups = own if isinstance(ablation.rates, Mapping) else shared
        return cls({kinds: ablation.rates_of(kinds[0]) for kinds in groups})

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(map(len, self.rates.values()))

    def size_after(self, extensions: int) -> int:
        """Return the largest number of combinations after some extensions."""
        sizes = [len(rates) for rates in self.rates.values()]
        return math.prod(size + extensions if size > 1 else size for size in sizes)

    def combinations(self) -> list[dict[str, float]]:
        """Return the rate of each kind, for every combination."""
        return [
            {kind: rate for kinds, rate in zip(self.rates, point, strict=True) for kind in kinds}
            for point in itertools.product(*self.rates.values())
        ]

    def holds(self, rates: Mapping[str, float]) -> bool:
        """Return whether a combination, which may lack kinds that are not tuned, is in the grid."""
        return all(
            rates[kind] in tried
            for kinds, tried in self.rates.items()
            for kind in rates.keys() & kinds
        )

    def words(self, rates: Mapping[str, float]) -> str:
        """Return rates by kind as text: a shared one as a number, others beside their kind."""
        return ", ".join(
            f"{rates[kinds[0]]:.3g}" if len(kinds) > 1 else f"{kinds[0]} {rates[kinds[0]]:.3g}"
            for kinds in self.rates
            if kinds[0] in rates
        )

    def beyond(self, best: Mapping[str, float]) -> dict[str, float]:
        """Return the next rate of each kind whose best rate is the lowest or highest of several.

        The next rate is to the best one as that is to its neighbour in the grid.

        Args:
            best: the best rate of each kind that the cell tunes.
        """
        found: dict[str, float] = {}
        for kinds, tried in self.rates.items():
            rates, chosen = sorted(tried), next(best[kind] for kind in kinds if kind in best)
            for end, neighbour in (rates[:2], rates[:-3:-1]) if len(rates) > 1 else ():
                # Six digits, which are also shown: 0.009, and not 0.009000000000000001.
                rate = float(f"{end * (end / neighbour):.6g}")
                if chosen == end and 0 < rate <= HIGHEST_RATE and rate not in rates:
                    found |= dict.fromkeys(kinds, rate)
        return found

    def extended(self, further: Mapping[str, float]) -> "RateGrid":
        """Return the grid with the rates from `beyond`, in combination with all others."""
        return RateGrid(
            {
                kinds: (*tried, *{further[kind] for kind in kinds if kind in further})
                for kinds, tried in self.rates.items()
            }
        )
