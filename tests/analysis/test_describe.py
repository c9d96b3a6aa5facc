"""What a study's page in MLflow says first."""

from collections.abc import Callable
from pathlib import Path

from study.analysis.comparison import leaderboard
from study.analysis.describe import describe_study
from study.analysis.formatting import interval, percent, rate
from study.analysis.results import read_results
from study.analysis.tables import markdown_text
from study.storage.ledger import Registration, StudyFolder


def described(folder: Path) -> str:
    results = read_results(folder)
    return describe_study(results, leaderboard(results))


def test_it_begins_with_what_won_by_how_much_and_how_it_was_trained(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=0.0)
    winner = leaderboard(read_results(folder)).winner
    assert winner is not None
    first, second = described(folder).split("\n\n")[:2]
    number = int(str(winner.source_trial).removeprefix("search-"))
    assert first.startswith(f"**trial {number} ★ won: {interval(winner.test)} % on test**; ")
    assert "points against tuned CLIPFit (within noise)" in first
    assert first.endswith("points against CLIPFit as published (above, by more than noise).")
    assert second.startswith(f"It tunes {markdown_text(str(winner.settings.subset))}: ")
    assert f"LayerNorms {rate(winner.settings.rates['ln'])}" in second
    assert second.endswith(f"{percent(winner.val_score)} % on validation.")


def test_base_and_new_stand_beside_their_mean(base_to_new_study: Path) -> None:
    winner = leaderboard(read_results(base_to_new_study)).winner
    assert winner is not None
    first = described(base_to_new_study).split("\n\n")[0]
    assert f"(base {interval(winner.parts['base'])}, new {interval(winner.parts['new'])});" in first


def test_the_line_that_loads_it_names_the_version_since_the_alias_may_move(
    few_shot_study: Path,
) -> None:
    registration = Registration("clipfit-glyphs", "3", champion=True, reason="it is the first")
    StudyFolder(few_shot_study).write_registration(registration)
    _, loading, _, champion = described(few_shot_study).split("\n\n")[:4]
    assert loading.startswith('`mlflow.pyfunc.load_model("models:/clipfit-glyphs/3").predict')
    assert champion == "Version 3 of clipfit-glyphs is champion: it is the first."


def test_where_nothing_beats_chance_it_begins_with_that_and_names_no_winner(
    guessing_study: Path,
) -> None:
    chosen = leaderboard(read_results(guessing_study)).chosen
    assert chosen is not None
    text = described(guessing_study)
    number = int(str(chosen.source_trial).removeprefix("search-"))
    assert text.split("\n\n")[0] == (
        f"**No winner: trial {number}, chosen by validation, does not beat chance on test** "
        f"({interval(chosen.test)} % against 80.0 %)."
    )
    for word in ("★", "won", "champion", "It tunes"):
        assert word not in text


def test_an_ablation_begins_with_its_verdict(ablation_study: Path) -> None:
    (ablation_study / "cells.json").write_text("{}")
    assert "cells differ from “base”" in described(ablation_study).split("\n\n")[0]
