"""Importances are told of enough trials of the journal with enough in common."""

import json
import re
from pathlib import Path

import optuna
import pytest

from study.report.charts import GREEN
from study.report.importance_chart import (
    common_parameters,
    importance_chart,
    importances,
    load_optuna_studies,
)
from study.report.plots import make_plots
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results


def write_journal(folder: Path, arm: str, trials: int) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    study = optuna.create_study(
        study_name=arm, direction="maximize", storage=optuna.storages.JournalStorage(backend)
    )
    for number in range(trials):
        trial = study.ask()
        rate = trial.suggest_float("bias_lr", 1e-4, 1e-2, log=True)
        trial.suggest_categorical("text.ln1", [False, True])
        study.tell(trial, rate * 10 + number / 1000)


def test_the_studies_are_those_of_the_journal(few_shot_study: Path) -> None:
    write_journal(few_shot_study, "search", 30)
    studies = load_optuna_studies(read_results(few_shot_study))
    assert set(studies) == {"search"}
    assert len(studies["search"].trials) == 30
    found = importances(studies["search"])
    assert isinstance(found, dict)
    assert "text.ln1" in found["fANOVA"]


def test_looking_for_a_journal_does_not_make_one(few_shot_study: Path) -> None:
    assert load_optuna_studies(read_results(few_shot_study)) == {}
    assert not (few_shot_study / "optuna.journal").exists()


def test_a_peer_that_searches_its_rate_alone_has_no_importances(few_shot_study: Path) -> None:
    for arm in ("search", "lora"):
        write_journal(few_shot_study, arm, 12)
    path = min((few_shot_study / "trials").glob("search-*/config.json"))
    own = {"subset": "none", "peer": {"method": "lora", "lr": 0.01}}
    peer = {"arm": "lora", "settings": own}
    path.write_text(json.dumps(json.loads(path.read_text()) | peer))
    assert set(load_optuna_studies(read_results(few_shot_study))) == {"search"}


def test_a_damaged_journal_is_told(few_shot_study: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_journal(few_shot_study, "search", 12)
    journal = few_shot_study / "optuna.journal"
    journal.write_text("no journal\n" + journal.read_text())
    assert load_optuna_studies(read_results(few_shot_study)) == {}
    assert "optuna.journal is damaged" in caplog.text


def test_importances_of_constant_scores_do_not_fail() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(30):
        trial = study.ask()
        trial.suggest_float("bias_lr", 0, 1)
        study.tell(trial, 0.5)
    assert importances(study)


def test_a_conditional_parameter_is_looked_at_where_most_trials_have_it() -> None:
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
    assert common_parameters(study) == ["distill_weight", "bias_lr"]


def finished_study(trials: int, *, conditional: int = 0) -> optuna.Study:
    """A study of so many finished trials, some of which have a further parameter."""
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        trial = study.ask()
        rate = trial.suggest_float("bias_lr", 1e-4, 1e-2, log=True)
        trial.suggest_categorical("vision.ln", [False, True])
        if number < conditional:
            trial.suggest_float("ln_lr", 1e-4, 1e-2, log=True)
        study.tell(trial, rate)
    return study


@pytest.mark.parametrize(("finished", "is_drawn"), [(0, False), (29, False), (30, True)])
def test_importance_is_drawn_from_30_finished_trials_on_and_below_says_what_it_lacks(
    finished: int, is_drawn: bool
) -> None:
    chart = importance_chart("search", finished_study(finished), GREEN)
    assert chart.name == "importance-search"
    if is_drawn:
        assert chart.missing is None
    else:
        assert chart.missing == f"needs 30 finished trials, has {finished}"


@pytest.mark.parametrize("finished", [12, 30])
@pytest.mark.parametrize("stopped", [0, 1, 1234])
def test_trials_that_were_stopped_are_told_with_their_number_whether_drawn_or_not(
    finished: int, stopped: int
) -> None:
    chart = importance_chart("search", finished_study(finished), GREEN, stopped=stopped)
    told = chart.missing or chart.caption
    assert ("stopped early" in told) is (stopped > 0)
    number = {0: "", 1: "1 trial stopped early", 1234: "1,234 trials stopped early"}[stopped]
    assert number in told


def test_the_caption_counts_the_trials_that_the_shares_are_computed_from() -> None:
    study = finished_study(50, conditional=40)
    assert set(common_parameters(study)) == {"bias_lr", "vision.ln", "ln_lr"}
    assert " 40 finished trials" in importance_chart("search", study, GREEN).caption


def test_the_chart_of_each_arm_tells_how_many_of_its_trials_were_stopped(
    few_shot_study: Path,
) -> None:
    for arm in ("search", "clipfit-tuned"):
        write_journal(few_shot_study, arm, 12)
    results = read_results(few_shot_study)
    charts = {chart.name: chart for chart in make_plots(results, leaderboard(results))}
    for arm in ("search", "clipfit-tuned"):
        ended = [t.status for t in results.stage("search") if t.arm == arm]
        chart = charts[f"importance-{arm}"]
        told = chart.missing or chart.caption
        assert re.findall(r"(\d+) trials? stopped early", told) == [str(ended.count("stopped"))]


def test_bars_are_the_importances_of_both_methods_in_the_order_of_the_first(
    few_shot_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.report.importance_chart.MIN_TRIALS", 10)
    write_journal(few_shot_study, "search", 12)
    studies = load_optuna_studies(read_results(few_shot_study))
    found = importances(studies["search"])
    chart = importance_chart("search", studies["search"], GREEN)
    assert isinstance(found, dict)
    (panel,) = chart.panels
    assert panel.y.names is not None
    for series, (method, shares) in zip(panel.series, found.items(), strict=True):
        assert series.name == method
        assert list(series.x) == [100 * shares[name] for name in panel.y.names]
    assert panel.x.title.endswith("%")
    assert {series.color for series in panel.series} == {GREEN}
    assert list(panel.series[0].x) == sorted(panel.series[0].x)
    assert "With so few trials this is a hint at best" in chart.caption
    assert "A name such as text." in chart.caption


def test_windows_are_explained_where_their_ends_are_drawn() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(30):
        trial = study.ask()
        trial.suggest_int("vision.from", 0, 3)
        study.tell(trial, float(number))
    caption = importance_chart("search", study, GREEN).caption
    assert "vision.from and vision.to are the ends of the window of blocks of the image" in caption
