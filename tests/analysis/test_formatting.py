"""Numbers are worded with their doubt, and verdicts claim no more than the intervals allow."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from study.analysis.comparison import leaderboard
from study.analysis.formatting import (
    count,
    duration,
    guessing,
    interval,
    percent,
    points,
    probability,
    rate,
    validation_findings,
    verdict,
)
from study.analysis.results import read_results
from study.analysis.statistics import estimate


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+1.2"), (-0.0123, "−1.2"), (-0.0001, "0.0"), (0.0, "0.0")]
)
def test_points_are_signed_percentage_points(value: float, text: str) -> None:
    assert points(value) == text


def test_numbers_are_worded_with_their_doubt() -> None:
    assert interval(estimate([0.5, 0.52, 0.54])) == "52.0 ± 5.0"
    assert interval(estimate([0.5])) == "50.0 (1 seed)"
    assert (probability(0.0004), probability(0.0412), probability(None)) == ("<0.001", "0.041", "–")


def test_a_clear_gain_is_called_more_than_noise(make_study: Callable[..., Path]) -> None:
    text = " ".join(verdict(leaderboard(read_results(make_study(edge=0.05)))))
    assert "Against tuned CLIPFit: +" in text
    assert "above, by more than noise" in text
    assert "within noise" not in text


def test_a_small_difference_is_called_within_noise(make_study: Callable[..., Path]) -> None:
    board = leaderboard(read_results(make_study(edge=0.0)))
    assert board.winner is not None
    assert board.winner.versus_tuned is not None
    assert board.winner.versus_tuned.paired.within_noise
    against_tuned = next(s for s in verdict(board) if "tuned CLIPFit" in s)
    assert against_tuned.endswith("within noise.")


def test_a_winner_below_a_baseline_is_said_to_be(make_study: Callable[..., Path]) -> None:
    text = " ".join(verdict(leaderboard(read_results(make_study(edge=-0.03)))))
    assert "The winner’s mean is below the baseline “clipfit-tuned”: beyond noise" in text
    assert "below the baseline “bitfit”, −" in text
    assert "selecting on test" in text


def test_the_ranking_by_validation_is_reported(base_to_new_study: Path) -> None:
    text = " ".join(validation_findings(leaderboard(read_results(base_to_new_study))))
    assert "over 7 candidates: Spearman’s rho +0." in text
    assert "base validation alone would have picked “best”" in text


def test_a_choice_at_chance_does_not_hide_that_others_are_above_it(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=-0.3, images=(50, 25, 25))
    text = " ".join(verdict(leaderboard(read_results(folder))))
    assert "The choice does not beat chance (39.9 % against 50.0 %), so there is no winner." in text
    assert "but validation did not choose it; taking it now would be selecting on test." in text
    assert "Nothing that was tested" not in text


def test_a_baseline_that_was_not_tested_is_said_to_be_missing(few_shot_study: Path) -> None:
    for path in (few_shot_study / "trials").glob("confirm-clipfit-seed*/reports.jsonl"):
        path.unlink()
    text = " ".join(verdict(leaderboard(read_results(few_shot_study))))
    assert "CLIPFit as published has no test score" in text
    assert "Against tuned CLIPFit" in text


def test_configurations_tested_as_given_have_no_winner(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*"):
        shutil.rmtree(path)
    board = leaderboard(read_results(few_shot_study))
    assert not board.searched
    sentence, chance = verdict(replace(board, entries=board.entries[:2]))
    assert sentence.startswith("Nothing was searched; configurations tested as given, accuracy: “")
    assert board.entries[1].name in sentence
    assert chance.startswith("Always naming the largest class would score 8.3 % (chance)")
    assert validation_findings(board) == (
        "There was no choice to make, so validation images were not looked at.",
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_are_told_in_the_unit_that_reads_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_unknown_is_a_dash() -> None:
    assert {percent(None), interval(None), rate(None), count(None)} == {"–"}
    assert (percent(0.12345, 2), rate(0.00123456), count(11264)) == ("12.35", "0.00123", "11,264")
    assert guessing(None) == ()
