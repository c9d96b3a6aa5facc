"""The samplers of the search: functions that make one of Optuna's from a seed.

Every proposal is made by a new sampler, so that it depends only on the history and the
seed, and an interrupted study continues with the same choices.
"""

import hashlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from study.config.plugins import find_object

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler  # a check of a name can do without the import

Sampler = Callable[[int], "BaseSampler"]
"""A function from a seed to a sampler."""


def random(seed: int) -> "BaseSampler":
    """Return a sampler that does not learn."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def tpe(seed: int) -> "BaseSampler":
    """Return the tree-structured Parzen estimator, for a conditional space and parallel trials."""
    import optuna

    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, seed=seed
        )


def sampler_named(name: str) -> Sampler:
    """Return the sampler of a name; see `study.config.plugins.find_object`.

    Raises:
        ConfigError: there is none.
    """
    return find_object("samplers", name, {"tpe": lambda: tpe, "random": lambda: random})


def seed_from_text(text: str) -> int:
    """Return a seed computed from a text, which differs for each proposal of a study."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
