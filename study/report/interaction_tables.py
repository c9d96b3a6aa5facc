"""Interactions of sites as a table, as sentences and as rows of a file."""

from collections.abc import Iterator, Sequence

from study.report.formatting import (
    Table,
    comparison_cells,
    interval_columns,
    p_columns,
    percent,
    points,
    probability,
)
from study.results.interactions import CEILING, Interaction, Obstacle
from study.results.statistics import Comparison, is_significant

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
    header = ["a", "b", "a alone", "b alone", "a + b", "Δ better one", "p"]
    header += ["interaction, log-odds", "p of interaction"]
    rows = []
    for pair in pairs:
        row: list[object] = list(pair.sites)
        row += [points(gain.mean) for gain in pair.gains]
        row += comparison_cells(pair.gain_over_better)
        row += _interaction_cells(pair)
        rows.append(row)
    return Table("Pairs of sites", header, rows, left=2, keys=2, break_at=7, note=NOTE)


def _interaction_cells(pair: Interaction) -> tuple[str, str]:
    if pair.interaction is None:
        return "not tested", "–"
    return format_log_odds(pair.interaction), probability(pair.interaction.holm_p)


def format_log_odds(comparison: Comparison) -> str:
    """Return an interaction with its interval, in log-odds."""
    difference = comparison.paired.difference
    mean = _signed_decimals(difference.mean)
    if difference.low is None or difference.high is None:
        return f"{mean} (no interval)"
    return f"{mean} [{_signed_decimals(difference.low)}, {_signed_decimals(difference.high)}]"


def _signed_decimals(value: float) -> str:
    rounded = round(value, 2)
    if rounded == 0:
        return "0.00"
    return f"{rounded:+.2f}".replace("-", "−")


def interaction_verdict(pairs: Sequence[Interaction]) -> tuple[str, ...]:
    """Return sentences on what pairs give over the better site, and whether they add up."""
    sentences = list(_describe_gains_over_better(pairs))
    sentences += _describe_interactions(pairs)
    sentences += _describe_untested(pairs)
    return tuple(sentences)


def _describe_gains_over_better(pairs: Sequence[Interaction]) -> Iterator[str]:
    """Yield which pairs score more, or less, than the better of their sites alone."""
    tests, differing = 0, []
    for pair in pairs:
        if pair.gain_over_better is not None and pair.gain_over_better.holm_p is not None:
            tests += 1
            if is_significant(pair.gain_over_better):
                gain = points(pair.gain_over_better.paired.difference.mean)
                differing.append(f"{_quote_sites(pair)} by {gain} points")
    if tests:
        verb = "differ" if len(differing) > 1 else "differs"
        yield (
            f"{len(differing) or 'None'} of {tests} pairs of sites {verb} from the better of both "
            f"alone, which validation named, beyond noise, corrected for {tests} tests (Holm)"
            f"{_after_colon(differing)}."
        )
    elif pairs and not any(pair.better for pair in pairs):
        yield (
            "Nothing was validated, so no site of a pair is named the better one, and what "
            "both give over it is not known."
        )


def _describe_interactions(pairs: Sequence[Interaction]) -> Iterator[str]:
    """Yield which pairs give more, or less, than what their sites add up to."""
    tests, interacting = 0, []
    for pair in pairs:
        if pair.interaction is not None and pair.interaction.holm_p is not None:
            tests += 1
            if is_significant(pair.interaction):
                side = "less"
                if pair.interaction.paired.difference.mean > 0:
                    side = "more"
                interacting.append(f"{_quote_sites(pair)} give {side}")
    if tests:
        verb = "interact" if len(interacting) > 1 else "interacts"
        yield (
            f"{len(interacting) or 'None'} of {tests} pairs of sites {verb} beyond noise on "
            f"log-odds, corrected for {tests} tests (Holm){_after_colon(interacting)}."
        )


def _describe_untested(pairs: Sequence[Interaction]) -> Iterator[str]:
    """Yield the pairs whose interaction is not tested, with the reason."""
    untested = []
    for pair in pairs:
        if pair.interaction is None:
            untested.append(f"{_quote_sites(pair)} ({_describe_obstacle(pair.obstacle)})")
    if untested:
        yield f"Not tested whether they interact: {'; '.join(untested)}."


def _describe_obstacle(obstacle: Obstacle | None) -> str:
    """Return why the interaction of a pair is not tested; an empty text if it is."""
    if obstacle is None:
        return ""
    if obstacle.reason == "untested":
        return "nothing was scored on test images, and validation images are not counted"
    if obstacle.reason == "uncounted":
        return "the numbers of its test images are not known"
    return f"to add up, both would need {percent(obstacle.needed)} % on validation"


def _quote_sites(pair: Interaction) -> str:
    first, second = pair.sites
    return f"“{first}” with “{second}”"


def _after_colon(names: Sequence[str]) -> str:
    """Return a colon and the names; an empty text if there are none."""
    if names:
        return f": {', '.join(names)}"
    return ""


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
        difference = comparison.paired.difference if comparison else None
        record |= interval_columns({name: difference})
        for column, p in p_columns(comparison).items():
            record[f"{name}_{column}"] = p
    record["not_tested"] = _describe_obstacle(pair.obstacle) or None
    return record
