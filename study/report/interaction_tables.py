"""Interactions of sites as a table, as sentences and as rows of a file."""

from collections.abc import Sequence
from functools import partial

from study.report.formatting import (
    Table,
    comparison_cells,
    interval_columns,
    p_columns,
    percent,
    points,
    probability,
    signed,
)
from study.report.sentences import sentences
from study.results.interactions import CEILING, Interaction, Obstacle
from study.results.intervals import MeanInterval
from study.results.statistics import is_significant

NOTE = (
    "a alone, b alone and a + b are mean differences to zero-shot in percentage points. Δ better "
    "one is a + b less the better of both alone, which validation names. The interaction is that "
    "of log-odds, since accuracies have a ceiling: above 0 two sites give more together than they "
    "add up to, below 0 less. Intervals are 95 % over common seeds and test images. Each p is "
    "corrected for the number of its tests (Holm). A pair that would need more than "
    f"{percent(CEILING, 0)} % on validation to add up is not tested."
)


def interaction_table(pairs: Sequence[Interaction]) -> Table:
    """Return what two sites give alone and together, over the better one, and beyond adding up."""
    sites = ("a", "b", "a alone", "b alone", "a + b")
    header = [*sites, "Δ better one", "p", "interaction, log-odds", "p of interaction"]
    rows = []
    for pair in pairs:
        row = list(pair.sites)
        row += [points(gain.mean) for gain in pair.gains]
        row += comparison_cells(pair.gain_over_better)
        if pair.interaction:
            row += [format_log_odds(pair.interaction), probability(pair.interaction.holm_p)]
        else:
            row += ["not tested", "–"]
        rows.append(row)
    return Table("Pairs of sites", header, rows, left=2, keys=2, break_at=7, note=NOTE)


def format_log_odds(difference: MeanInterval) -> str:
    """Return an interaction with its interval, in log-odds."""
    mean = signed(difference.mean, 2)
    if difference.low is None or difference.high is None:
        return f"{mean} (no interval)"
    return f"{mean} [{signed(difference.low, 2)}, {signed(difference.high, 2)}]"


def interaction_verdict(pairs: Sequence[Interaction]) -> list[str]:
    """Return which pairs of sites gain over the better site, and interact, beyond noise."""
    return sentences(
        "report/interaction_verdict",
        pairs=pairs,
        is_significant=is_significant,
        signed_decimals=partial(signed, digits=2),
        describe_obstacle=_describe_obstacle,
    )


def _describe_obstacle(obstacle: Obstacle | None) -> str:
    """Return why the interaction of a pair is not tested; an empty text if it is."""
    if not obstacle:
        return ""
    if obstacle.reason == "untested":
        return "nothing was scored on test images, and validation images are not counted"
    if obstacle.reason == "uncounted":
        return "the numbers of its test images are not known"
    return f"to add up, both would need {percent(obstacle.needed)} % on validation"


def interaction_record(pair: Interaction) -> dict[str, object]:
    """Return a pair as a row for other programs: fractions, and log-odds for the interaction."""
    first, second, both = pair.gains
    record: dict[str, object] = {
        "site": pair.sites[0],
        "other_site": pair.sites[1],
        "seeds": both.n,
        **interval_columns({"first": first, "second": second, "both": both}),
        "better_site": pair.better,
    }
    for name, comparison in (("lead", pair.gain_over_better), ("interaction", pair.interaction)):
        record |= interval_columns({name: comparison})
        record |= p_columns(comparison, f"{name}_")
    record["not_tested"] = _describe_obstacle(pair.obstacle) or None
    return record
