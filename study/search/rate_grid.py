"""The learning rates at which an ablation's cell is tried."""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from study.backbones.architecture import Depths
from study.config.schema import AblationConfig
from study.method.parameters import kind_names
from study.method.subsets import Subset, kinds

Rates = Mapping[str, float]
"""The learning rate of each kind of parameter."""


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

    def combinations(self) -> list[dict[str, float]]:
        """Return the rate of each kind, for every combination."""
        combinations = []
        for point in itertools.product(*self.rates.values()):
            rates = {}
            for group, rate in zip(self.rates, point, strict=True):
                rates.update(dict.fromkeys(group, rate))
            combinations.append(rates)
        return combinations

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
