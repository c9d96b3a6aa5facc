"""Importances are told of enough trials with enough in common, and of no others."""

from pathlib import Path

import optuna

from study.analysis.optuna_plots import (
    common_parameters,
    history_plot,
    importance_plots,
    importances,
    parallel_plots,
)
from study.analysis.optuna_study import load_optuna_studies
from study.analysis.results import read_results


def test_importances_of_too_few_trials_are_refused_in_words(few_shot_study: Path) -> None:
    found = importances(load_optuna_studies(read_results(few_shot_study))["clipfit-tuned"])
    assert isinstance(found, str)
    assert "of the 10 complete trials" in found


def test_importances_of_constant_scores_do_not_fail() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(12):
        trial = study.ask()
        trial.suggest_float("bias_lr", 0, 1)
        study.tell(trial, 0.5)
    assert importances(study)


def test_a_conditional_parameter_is_looked_at_where_most_trials_have_it() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(16):
        trial = study.ask()
        trial.suggest_float("distill_weight", 0, 1)
        if number % 4:
            trial.suggest_float("bias_lr", 0, 1)
        if number % 4 == 0:
            trial.suggest_float("ln_lr", 0, 1)
        trial.suggest_categorical("fixed", ["always"])
        study.tell(trial, float(number))
    assert common_parameters(study) == ["distill_weight", "bias_lr"]


def test_arms_without_enough_complete_trials_are_not_drawn_and_say_so() -> None:
    empty = {"search": optuna.create_study(direction="maximize")}
    assert history_plot(empty).missing == "no search trial is complete yet"
    (importance,) = importance_plots(empty)
    (parallel,) = parallel_plots(empty)
    assert (importance.name, parallel.name) == ("importance-search", "parallel-search")
    for plot in (importance, parallel):
        assert plot.missing == "only 0 of the 10 complete trials that it takes"
        assert plot.figure is None
