"""A search's Optuna studies come from the journal, and from the table what it lacks."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from study.analysis.optuna_plots import importances
from study.analysis.optuna_study import load_optuna_studies
from study.analysis.results import read_results


def write_journal(folder: Path, arm: str, trials: int) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    study = optuna.create_study(
        study_name=arm, direction="maximize", storage=optuna.storages.JournalStorage(backend)
    )
    for number in range(trials):
        trial = study.ask()
        rate = trial.suggest_float("bias_lr", 1e-4, 1e-2, log=True)
        trial.suggest_categorical("a site of the journal", [False, True])
        study.tell(trial, rate * 10 + number / 1000)


def test_the_journal_is_preferred_to_the_table(few_shot_study: Path) -> None:
    write_journal(few_shot_study, "search", 12)
    studies = load_optuna_studies(read_results(few_shot_study))
    assert set(studies) == {"search", "clipfit-tuned"}
    assert len(studies["search"].trials) == 12
    assert len(studies["clipfit-tuned"].trials) == 8
    found = importances(studies["search"])
    assert isinstance(found, dict)
    assert "a site of the journal" in found["fANOVA"]


def test_looking_for_a_journal_does_not_make_one(few_shot_study: Path) -> None:
    load_optuna_studies(read_results(few_shot_study))
    assert not (few_shot_study / "optuna.journal").exists()


def test_a_rebuilt_study_tells_stopped_and_failed_trials_apart(few_shot_study: Path) -> None:
    results = read_results(few_shot_study)
    study = load_optuna_studies(results)["search"]
    trials = [trial for trial in results.stage("search") if trial.arm == "search"]
    for state, status in (
        (TrialState.COMPLETE, "finished"),
        (TrialState.PRUNED, "stopped"),
        (TrialState.FAIL, "failed"),
    ):
        expected = sum(trial.status == status for trial in trials)
        assert len(study.get_trials(states=(state,))) == expected > 0
    assert study.best_value == max(t.val_score or 0 for t in trials if t.status == "finished")
    assert {"bias_lr", "ln_lr", "vision.ln"} <= {n for t in study.trials for n in t.params}


def test_a_damaged_journal_is_told_and_the_table_taken_instead(
    few_shot_study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_journal(few_shot_study, "search", 12)
    journal = few_shot_study / "optuna.journal"
    journal.write_text("no journal\n" + journal.read_text())
    assert len(load_optuna_studies(read_results(few_shot_study))["search"].trials) == 24
    assert "optuna.journal is damaged" in caplog.text
