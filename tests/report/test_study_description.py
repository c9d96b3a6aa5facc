"""The description of a study begins with what won, and claims nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.report.formatting import format_mean, format_rate, markdown_text, percent
from study.report.study_description import describe_study
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from tests.changed_studies import board_of
from tests.not_none import not_none
from tests.report.said_cases import SAID, assert_said, prepare


def described(folder: Path) -> str:
    results = read_results(folder)
    return describe_study(results, leaderboard(results))


def test_it_begins_with_what_won_by_how_much_and_how_it_was_trained(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=0.0)
    winner = not_none(board_of(folder).winner)
    first, second = described(folder).split("\n\n")[:2]
    number = int(str(winner.source_trial).removeprefix("search-"))
    assert first.startswith(f"**trial {number} ★ won: {format_mean(winner.test)} % on test**; ")
    assert "points against tuned CLIPFit (within noise; " in first
    assert second.startswith(f"It tunes {markdown_text(str(winner.settings.subset))}: ")
    assert f"LayerNorms {format_rate(winner.settings.rates['ln'])}" in second
    assert second.endswith(f"{percent(winner.val_score)} % on validation.")


@pytest.mark.parametrize("case", SAID["description"].values(), ids=SAID["description"])
def test_a_description_has_what_its_study_has(few_shot_study: Path, case: dict[str, Any]) -> None:
    assert_said(described(prepare(few_shot_study, case)), case)


def test_base_and_new_stand_beside_their_mean(base_to_new_study: Path) -> None:
    parts = not_none(board_of(base_to_new_study).winner).parts
    first = described(base_to_new_study).split("\n\n")[0]
    assert f"(base {format_mean(parts['base'])}, new {format_mean(parts['new'])});" in first


def test_where_nothing_beats_chance_it_begins_with_that_and_names_no_winner(
    guessing_study: Path,
) -> None:
    chosen = not_none(board_of(guessing_study).chosen)
    text = described(guessing_study)
    number = int(str(chosen.source_trial).removeprefix("search-"))
    assert text.startswith(f"**No winner: trial {number}, ")
    assert f"(balanced {format_mean(chosen.balanced)} % against 33.3 %)." in text
    for word in ("★", "won", "champion", "It tunes"):
        assert word not in text


def test_an_ablation_begins_with_its_verdict(ablation_study: Path) -> None:
    assert "cells differ from “base”" in described(ablation_study).split("\n\n")[0]
