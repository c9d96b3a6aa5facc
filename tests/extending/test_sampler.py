"""A sampler of one's own: a function from a seed to one of Optuna's samplers."""

from typing import Any

import pytest
from optuna.samplers import BaseSampler, QMCSampler

from study.errors import ConfigError


def sobol(seed: int) -> BaseSampler:
    """A sequence that covers the space evenly."""
    return QMCSampler(qmc_type="sobol", seed=seed, warn_independent_sampling=False)


@pytest.mark.long
def test_a_study_searches_with_it(small: Any, install: Any):
    install("samplers", f"sobol = {__name__}:sobol")
    folder = small({"sampler": "sobol"})
    assert "sampler: sobol" in folder.config_path.read_text()
    searched = [t for t in folder.trials() if t.trial_id.startswith("search-")]
    assert len(searched) == 8 + 1, "those planned, and the linear classifier"
    assert folder.is_complete()


def test_without_it_the_study_does_not_start(small: Any):
    with pytest.raises(
        ConfigError, match=r"search\.sampler: 'sobol' is unknown; expected one of tpe"
    ):
        small({"sampler": "sobol"})
