"""Samplers: functions of a seed, by name."""

import pytest
from optuna.samplers import RandomSampler, TPESampler

from study.errors import ConfigError
from study.search.samplers import sampler_named, seed_from_text


def test_a_sampler_is_found_by_its_name():
    assert isinstance(sampler_named("tpe")(1), TPESampler)
    assert isinstance(sampler_named("random")(1), RandomSampler)
    with pytest.raises(ConfigError, match="allowed are tpe, random"):
        sampler_named("grid")


def test_a_sampler_may_be_handed_over_under_its_own_name():
    def mine(seed: int) -> RandomSampler:
        return RandomSampler(seed=seed)

    assert sampler_named("mine", mine) is mine
    with pytest.raises(ConfigError, match="'tpe' is named"):
        sampler_named("tpe", mine)


def test_each_turn_has_a_seed_of_its_own():
    seeds = {seed_from_text(f"1/search/{started}/0") for started in range(9)}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**32 for seed in seeds)
