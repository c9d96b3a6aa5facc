"""What is said of pairs of sites is said only where it is so."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from study.report.formatting import Table
from study.report.interaction_tables import (
    interaction_record,
    interaction_table,
    interaction_verdict,
)
from study.results.interactions import Interaction, Obstacle
from study.results.intervals import MeanInterval, mean_interval
from tests.report.conftest import AsKept, rounded


def comparison(holm_p: float, *values: float) -> MeanInterval:
    return replace(mean_interval(values), holm_p=holm_p)


CLEAR, LESS = comparison(0.01, 0.10, 0.11, 0.12), comparison(0.01, -0.10, -0.11, -0.12)
NOISY, CORRECTED_AWAY = comparison(0.9, -0.10, 0.02, 0.11), comparison(0.2, 0.10, 0.11, 0.12)
ONE_SEED = mean_interval([-0.5])


def pair(
    lead: MeanInterval | None = None,
    interaction: MeanInterval | None = None,
    obstacle: Obstacle | None = None,
    first: str = "text.ln1",
) -> Interaction:
    gains = tuple(mean_interval([level, level + 0.01]) for level in (0.1, 0.19, 0.3))
    better = "vision.ln2" if lead else None
    return Interaction((first, "vision.ln2"), gains, better, lead, interaction, obstacle)


@pytest.mark.parametrize(
    "name, pairs",
    [
        ("none", []),
        ("clear", [pair(CLEAR, CLEAR)]),
        ("that-leads-alone", [pair(CLEAR, NOISY)]),
        ("that-gives-less", [pair(NOISY, LESS)]),
        ("noisy", [pair(NOISY, NOISY), pair(CORRECTED_AWAY, CORRECTED_AWAY, first="text.bias")]),
        ("without-validation", [pair(None, NOISY)]),
        ("of-one-seed", [pair(None, ONE_SEED)]),
        ("not-tested", [pair(None, None, Obstacle("untested"))]),
        (
            "tested-in-part",
            [
                pair(CLEAR, CLEAR),
                pair(CLEAR, None, Obstacle("uncounted"), "text.bias"),
                pair(CLEAR, None, Obstacle("ceiling", 0.991), "text.ln2"),
            ],
        ),
    ],
)
def test_what_is_told_of_pairs_is_what_was_kept(
    as_kept: AsKept, name: str, pairs: Sequence[Interaction]
):
    told = [*interaction_verdict(pairs), interaction_table(pairs).markdown()]
    as_kept(f"pairs-{name}", "\n".join(told))


def test_a_record_has_both_families_apart(as_kept: AsKept):
    pairs = (pair(CLEAR, NOISY), pair(None, None, Obstacle("ceiling", 1.0)))
    records = Table.from_records([interaction_record(one) for one in pairs])
    as_kept("records-of-pairs", rounded(records.csv()))
