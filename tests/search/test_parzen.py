"""TPE on a history of bounded length: what it proposes, and what it forgets."""

import math
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from study.search import parzen
from study.search.parzen import BoundedTpe

SPACE: dict[str, Any] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "tuned": CategoricalDistribution((True, False)),
}
OPTIONS: dict[str, Any] = {"multivariate": True, "group": True, "constant_liar": True}


def try_at_random(trial: optuna.Trial) -> float:
    """The better, the nearer the rate is to 0.01; some are stopped."""
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    if trial.number % 5 == 0:
        trial.suggest_categorical("tuned", (True, False))
    value = -abs(math.log10(rate) + 2)
    trial.report(value, 1)
    if trial.number % 3 == 1:
        raise optuna.TrialPruned
    return value


def past(count: int) -> optuna.Study:
    """A study of random trials."""
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(try_at_random, n_trials=count)
    return study


def proposals(sampler: type[TPESampler], study: optuna.Study) -> list[dict[str, Any]]:
    """What several samplers propose, each with a seed of its own."""
    found = []
    for seed in range(9):
        with warnings.catch_warnings(
            action="ignore", category=optuna.exceptions.ExperimentalWarning
        ):
            study.sampler = sampler(seed=seed, **OPTIONS)
        trial = study.ask(SPACE)
        study.tell(trial, state=TrialState.FAIL)
        found.append(trial.params)
    return found


@pytest.mark.parametrize("count", [3, 40])
def test_as_long_as_it_sees_all_trials_it_proposes_what_tpe_does(
    count: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parzen, "LATEST", 48)  # with the eight that the samplers have asked for
    assert proposals(BoundedTpe, past(count)) == proposals(TPESampler, past(count))


def test_the_best_are_seen_however_old(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parzen, "LATEST", 20)
    monkeypatch.setattr(parzen, "BEST", 5)
    study = past(80)
    numbers = [trial.number for trial in parzen._part_of(study).get_trials(deepcopy=False)]
    assert numbers == sorted(numbers)
    done = [t for t in study.trials if t.state is TrialState.COMPLETE]
    best = sorted(done, key=lambda trial: -trial.value)[:5]
    assert {*numbers} == {*range(60, 80), *(trial.number for trial in best)}
