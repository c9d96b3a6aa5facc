"""TPE on a history of bounded length: what it proposes, and what it forgets."""

import math
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from study.search import parzen
from study.search.parzen import BoundedTpe

SPACE: dict[str, Any] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "tuned": CategoricalDistribution((True, False)),
}
OPTIONS: dict[str, Any] = {"multivariate": True, "group": True, "constant_liar": True}


OLD = 20


def past(count: int) -> optuna.Study:
    """A study of random trials that are the better the nearer their rate is to 0.01; some stopped.

    The first few all have one rate, and are bad.
    """
    asked = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    told = optuna.create_study(direction="maximize")
    for number in range(count):
        rate = asked.ask(SPACE).params["rate"]
        value = -abs(math.log10(rate) + 2)
        if number < OLD:
            rate, value = 0.5, -9.0
        stopped = number % 3 == 1
        told.add_trial(
            create_trial(
                state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
                value=None if stopped else value,
                intermediate_values={1: value},
                params={"rate": rate, **({} if number % 5 else {"tuned": True})},
                distributions={k: SPACE[k] for k in ("rate", *(() if number % 5 else ("tuned",)))},
            )
        )
    return told


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
) -> None:
    monkeypatch.setattr(parzen, "LATEST", 40)
    assert proposals(BoundedTpe, past(count)) == proposals(TPESampler, past(count))


def test_the_best_are_seen_however_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parzen, "LATEST", 20)
    monkeypatch.setattr(parzen, "BEST", 5)
    study = past(80)
    seen = parzen._part_of(study).get_trials(deepcopy=False)
    numbers = [trial.number for trial in seen]
    assert numbers == sorted(numbers)
    assert {*range(60, 80)} < {*numbers}
    done = [t for t in study.trials if t.state is TrialState.COMPLETE]
    best = sorted(done, key=lambda trial: -trial.value)[:5]
    assert {trial.number for trial in best} <= {*numbers}
    assert len(numbers) < 26
    running = study.ask()
    seen = parzen._part_of(study).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    assert [trial.number for trial in seen] == [running.number]
