"""The published values are those of the paper's reference implementation, and stand once."""

from study.config.schema import StudyConfig, TrainingConfig
from study.method.recipe import DISTILL_WEIGHT, LEARNING_RATE, MOMENTUM, WARMUP_LR, WEIGHT_DECAY
from study.method.training import REFERENCE, read_recipe


def test_the_values_are_as_published():
    assert (LEARNING_RATE, DISTILL_WEIGHT) == (0.002, 8)
    assert (MOMENTUM, WEIGHT_DECAY, WARMUP_LR) == (0.9, 5e-4, 1e-5)


def test_a_configuration_and_the_functions_have_the_same_defaults():
    training = TrainingConfig()
    assert read_recipe(vars(training) | {"balance": "none"}) == REFERENCE  # "auto" may be it
    clipfit = StudyConfig().search.fixed_baselines["clipfit"]
    assert (set(clipfit.rates.values()), clipfit.distill_weight) == ({0.002}, 8)
