"""The tree-structured Parzen estimator of Optuna, on a history of bounded length."""

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial

from study.search.ray_internals import PartOfHistory

BEST = 25
"""The most trials that Optuna's default takes for the best."""
LATEST = 375
"""How many of the latest trials are seen, whatever they score."""


class BoundedTpe(TPESampler):
    """TPE that sees the best and the latest trials alone, so that its cost ceases to grow.

    Up to `LATEST` trials it proposes what TPE does. Beyond that it forgets those that are neither,
    which TPE weighs the less the older they are.
    """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `TPESampler`."""
        return super().infer_relative_search_space(_part_of(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `TPESampler`."""
        return super().sample_relative(_part_of(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `TPESampler`."""
        return super().sample_independent(_part_of(study), trial, param_name, param_distribution)


def _part_of(study: Study) -> PartOfHistory:
    return PartOfHistory(study, BEST, LATEST)
