"""Importances are computed of enough trials of the journal with enough in common."""

from pathlib import Path

import optuna
import pytest

from study.results.importance import importances, load_open_search
from study.storage.study_folder import StudyFolder
from tests.not_none import not_none


def write_journal(folder: Path, group: str, trials: int):
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    study = optuna.create_study(
        study_name=group, direction="maximize", storage=optuna.storages.JournalStorage(backend)
    )
    for number in range(trials):
        trial = study.ask()
        rate = trial.suggest_float("bias_lr", 1e-4, 1e-2, log=True)
        trial.suggest_categorical("text.ln1", [False, True])
        study.tell(trial, rate * 10 + number / 1000)


def test_the_open_search_is_that_of_a_whole_journal(
    few_shot_study: Path, caplog: pytest.LogCaptureFixture
):
    folder, journal = StudyFolder(few_shot_study), few_shot_study / "optuna.journal"
    assert load_open_search(folder) is None
    assert not journal.exists(), "looking for one makes none"
    write_journal(few_shot_study, "lora", 30)
    assert load_open_search(folder) is None
    write_journal(few_shot_study, "search", 30)
    study = not_none(load_open_search(folder))
    assert len(study.trials) == 30
    assert "text.ln1" in importances(study).weights
    journal.write_text("no journal\n" + journal.read_text())
    assert load_open_search(folder) is None
    assert "optuna.journal is damaged" in caplog.text


def finished_study() -> optuna.Study:
    """A study of 40 trials, of which some have a parameter that others lack."""
    study = optuna.create_study(direction="maximize")
    for number in range(40):
        trial = study.ask()
        trial.suggest_float("distill_weight", 0, 1)
        if number % 4:
            trial.suggest_float("bias_lr", 0, 1)
        if number % 4 == 0:
            trial.suggest_float("ln_lr", 0, 1)
        trial.suggest_categorical("fixed", ["always"])
        study.tell(trial, float(number))
    return study


def test_a_conditional_parameter_has_a_weight_where_most_trials_have_it():
    found = importances(finished_study())
    assert ({*found.weights}, found.trials) == ({"distill_weight", "bias_lr"}, 30)
    assert sum(found.weights.values()) == pytest.approx(1.0)


def test_what_optuna_cannot_tell_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object):
        raise RuntimeError("no variance")

    monkeypatch.setattr("optuna.importance.get_param_importances", fail)
    found = importances(finished_study())
    assert (found.weights, found.reason_if_empty) == ({}, "no variance")
