"""Every plot is drawn twice, or says why it is not drawn."""

import re
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from study.analysis.charts import Plot
from study.analysis.optuna_plots import common_parameters, importances
from study.analysis.optuna_study import load_optuna_studies
from study.analysis.plots import main, make_plots, write_plots
from study.analysis.result_charts import pareto_front, rates_chart, rungs_chart
from study.analysis.results import read_epochs, read_results

PNG = b"\x89PNG"


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


def test_a_finished_study_has_every_plot_as_html_and_png(
    drawn_study: tuple[Path, tuple[Plot, ...]], tmp_path: Path
) -> None:
    plots = {plot.name: plot for plot in drawn_study[1]}
    drawn = {name for name, plot in plots.items() if plot.figure is not None}
    assert drawn == {
        "agreement",
        "pareto",
        "learning-rates",
        "rungs",
        "history",
        "importance-search",
        "parallel-search",
    }
    assert all((plots[name].png or b"").startswith(PNG) for name in drawn)
    for name in plots.keys() - drawn:
        assert "of the 10 complete trials" in (plots[name].missing or "")
    files = write_plots(tmp_path, tuple(plots.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("html", "png")}


def test_an_html_file_needs_nothing_from_outside(
    drawn_study: tuple[Path, tuple[Plot, ...]], tmp_path: Path
) -> None:
    plots = [plot for plot in drawn_study[1] if plot.name == "pareto"]
    html = write_plots(tmp_path, plots)[0].read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", html)
    assert "Plotly.newPlot" in html


def test_a_study_without_results_says_why_there_is_no_plot(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    plots = make_plots(tmp_path)
    assert len(plots) == 5
    assert all(plot.missing and plot.figure is None for plot in plots)
    assert write_plots(tmp_path, plots) == ()


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path) -> None:
    stale = tmp_path / "plots" / "importance-clipfit-tuned.html"
    stale.parent.mkdir()
    stale.write_text("old")
    write_plots(tmp_path, [Plot("importance-clipfit-tuned", "title", "caption", missing="few")])
    assert not stale.exists()


def test_the_journal_is_preferred_to_the_table(few_shot_study: Path) -> None:
    write_journal(few_shot_study, "search", 12)
    studies = load_optuna_studies(few_shot_study)
    assert set(studies) == {"search", "clipfit-tuned"}
    assert len(studies["search"].trials) == 12
    assert len(studies["clipfit-tuned"].trials) == 8
    found = importances(studies["search"])
    assert isinstance(found, dict)
    assert "a site of the journal" in found["fANOVA"]


def test_looking_for_a_journal_does_not_make_one(few_shot_study: Path) -> None:
    load_optuna_studies(few_shot_study)
    assert not (few_shot_study / "optuna.journal").exists()


def test_a_rebuilt_study_tells_stopped_and_failed_trials_apart(few_shot_study: Path) -> None:
    study = load_optuna_studies(few_shot_study)["search"]
    rows = [row for row in read_results(few_shot_study).to_pylist() if row["arm"] == "search"]
    rows = [row for row in rows if row["stage"] == "search"]
    for state, status in (
        (TrialState.COMPLETE, "finished"),
        (TrialState.PRUNED, "stopped"),
        (TrialState.FAIL, "failed"),
    ):
        expected = sum(row["status"] == status for row in rows)
        assert len(study.get_trials(states=(state,))) == expected > 0
    assert study.best_value == max(r["val_score"] for r in rows if r["status"] == "finished")
    assert {"bias_lr", "ln_lr", "vision.ln"} <= {n for t in study.trials for n in t.params}


def test_importances_of_too_few_trials_are_refused_in_words(few_shot_study: Path) -> None:
    found = importances(load_optuna_studies(few_shot_study)["clipfit-tuned"])
    assert isinstance(found, str)
    assert "of the 10 complete trials" in found


def test_importances_of_constant_scores_do_not_fail() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(12):
        trial = study.ask()
        trial.suggest_float("bias_lr", 0, 1)
        study.tell(trial, 0.5)
    assert importances(study)


def test_the_front_holds_what_no_cheaper_point_beats() -> None:
    points = [(2.0, 0.7), (1.0, 0.6), (3.0, 0.65), (2.0, 0.5), (4.0, 0.8), (5.0, 0.8)]
    assert pareto_front(points) == [(1.0, 0.6), (2.0, 0.7), (4.0, 0.8)]


def test_rates_are_drawn_by_arm_and_never_for_failed_trials(few_shot_study: Path) -> None:
    rows = [row for row in read_results(few_shot_study).to_pylist() if row["stage"] == "search"]
    chart = rates_chart(rows)
    assert not isinstance(chart, str)
    expected = [
        row for row in rows if row["ln_lr"] is not None and row["status"] in ("finished", "stopped")
    ]
    assert sum(len(series.x) for series in chart.panels[1].series) == len(expected)


def test_survivors_never_increase_over_epochs(few_shot_study: Path) -> None:
    epochs = read_epochs(few_shot_study).to_pylist()
    chart = rungs_chart([row for row in epochs if row["stage"] == "search"])
    assert not isinstance(chart, str)
    for series in chart.panels[1].series:
        assert list(series.y) == sorted(series.y, reverse=True)
        assert series.y[0] in (24, 8)
        assert series.y[-1] < series.y[0]


def test_the_command_lists_the_files_and_what_is_missing(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(few_shot_study)]) == 0
    printed = capsys.readouterr()
    assert "pareto.png" in printed.out
    assert "importance-clipfit-tuned: not drawn" in printed.err


def test_one_confirmed_seed_is_drawn_without_an_interval(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    for path in sorted((folder / "trials").glob("confirm-*-seed[2-5]/*")):
        path.unlink()
    agreement = next(plot for plot in make_plots(folder) if plot.name == "agreement")
    assert agreement.png is not None


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
