"""What is said of pairs of sites is said only where it is so."""

from collections.abc import Sequence

import pytest

from study.report.interaction_tables import (
    format_log_odds,
    interaction_record,
    interaction_table,
    interaction_verdict,
)
from study.results.interactions import Interaction, Obstacle
from study.results.intervals import mean_interval
from study.results.statistics import Comparison, PairedDifference

BEYOND, WITHIN = (0.10, 0.11, 0.12), (-0.10, 0.02, 0.11)


def comparison(values: Sequence[float], holm_p: float) -> Comparison:
    return Comparison(PairedDifference(mean_interval(values), (1, 2, 3)), holm_p)


def pair(
    lead: Comparison | None = None,
    interaction: Comparison | None = None,
    obstacle: Obstacle | None = None,
) -> Interaction:
    gains = tuple(mean_interval([level, level + 0.01]) for level in (0.1, 0.2, 0.3))
    better = "vision.ln2" if lead else None
    return Interaction(("text.ln1", "vision.ln2"), gains, better, lead, interaction, obstacle)


def said(*pairs: Interaction) -> str:
    return " ".join(interaction_verdict(pairs))


def test_a_pair_is_named_only_where_it_is_beyond_noise_and_after_correction() -> None:
    name = "“text.ln1” with “vision.ln2”"
    clear, noisy = comparison(BEYOND, 0.01), comparison(WITHIN, 0.9)
    corrected_away = comparison(BEYOND, 0.2)
    assert said(pair(clear, noisy)).count(f"{name} by +11.0 points") == 1
    assert f"{name} give more" in said(pair(noisy, clear))
    less = comparison([-value for value in BEYOND], 0.01)
    assert f"{name} give less" in said(pair(noisy, less))
    for silent in (noisy, corrected_away):
        assert name not in said(pair(silent, silent))


def test_numbers_of_tests_are_those_of_each_family() -> None:
    clear = comparison(BEYOND, 0.01)
    text = said(
        pair(clear, clear),
        pair(clear, None, Obstacle("uncounted")),
        pair(clear, None, Obstacle("ceiling", 0.991)),
    )
    reasons = ("(the numbers of its", "(to add up, both would need 99.1 % on validation)")
    for part in ("3 of 3 pairs of", "1 of 1 pairs of", *reasons):
        assert part in text


def test_where_nothing_was_tested_that_is_the_reason() -> None:
    text = said(pair(None, None, Obstacle("untested")))
    assert "(nothing was scored on test images, and validation images are not counted)" in text
    assert "the numbers of its test images" not in text


@pytest.mark.parametrize("pairs", [(), (pair(comparison(BEYOND, 0.01), comparison(BEYOND, 0.01)),)])
def test_what_is_missing_is_not_told_where_nothing_is(pairs: Sequence[Interaction]) -> None:
    assert "Not tested" not in said(*pairs)
    assert "Nothing was validated" not in said(*pairs)
    assert bool(said(*pairs)) is bool(pairs)


def test_without_validation_only_interactions_are_told() -> None:
    text = said(pair(None, comparison(WITHIN, 0.9)))
    assert "Nothing was validated" in text
    assert "better of both" not in text


def test_the_table_has_a_dash_for_what_is_not_known() -> None:
    table = interaction_table([pair(None, None, Obstacle("uncounted"))])
    (row,) = table.texts
    assert row[:5] == ["text.ln1", "vision.ln2", "+10.5", "+20.5", "+30.5"]
    assert row[5:] == ["–", "–", "not tested", "–"]


def test_an_interaction_is_in_log_odds_with_two_decimals() -> None:
    found = comparison(BEYOND, 0.01)
    low, high = found.paired.difference.low, found.paired.difference.high
    assert format_log_odds(found) == f"+0.11 [{low:+.2f}, {high:+.2f}]"
    assert format_log_odds(comparison([-0.5], 0.01)) == "−0.50 (no interval)"


def test_a_record_has_both_families_apart() -> None:
    record = interaction_record(pair(comparison(BEYOND, 0.01), comparison(WITHIN, 0.9)))
    assert (record["lead_holm_p"], record["interaction_holm_p"]) == (0.01, 0.9)
    assert record["lead_mean"] == pytest.approx(0.11)
    assert (record["better_site"], record["not_tested"]) == ("vision.ln2", None)
    untested = interaction_record(pair(None, None, Obstacle("ceiling", 1.0)))
    assert untested.keys() == record.keys()
    assert untested["not_tested"] == "to add up, both would need 100.0 % on validation"
    assert untested["interaction_mean"] is None
