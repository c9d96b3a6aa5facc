"""Interactions of sites as a table, as sentences and as rows of a file."""

from collections.abc import Iterator, Sequence

from study.report.formatting import (
    Table,
    comparison_cells,
    interval_columns,
    p_values,
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
    return Table(
        "Pairs of sites",
        [
            *("a", "b", "a alone", "b alone", "a + b", "Δ better one", "p"),
            *("interaction, log-odds", "p of interaction"),
        ],
        [
            [
                *pair.sites,
                *(points(gain.mean) for gain in pair.gains),
                *comparison_cells(pair.lead),
                *_interaction_cells(pair),
            ]
            for pair in pairs
        ],
        left=2,
        keys=2,
        break_at=7,
        note=NOTE,
    )


def _interaction_cells(pair: Interaction) -> tuple[str, str]:
    if pair.interaction is None:
        return "not tested", "–"
    return in_log_odds(pair.interaction), probability(pair.interaction.holm_p)


def in_log_odds(comparison: Comparison) -> str:
    """Return an interaction with its interval, in log-odds."""
    found = comparison.paired.difference
    mean = _signed(found.mean)
    if found.low is None or found.high is None:
        return f"{mean} (no interval)"
    return f"{mean} [{_signed(found.low)}, {_signed(found.high)}]"


def _signed(value: float) -> str:
    rounded = round(value, 2) + 0.0  # which turns -0.0 into 0.0
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "0.00"


def verdict_on_pairs(pairs: Sequence[Interaction]) -> tuple[str, ...]:
    """Return sentences on what pairs give over the better site, and whether they add up."""
    return (*_of_leads(pairs), *_of_interactions(pairs), *_of_untested(pairs))


def _of_leads(pairs: Sequence[Interaction]) -> Iterator[str]:
    """Yield which pairs score more, or less, than the better of their sites alone."""
    leads = [(pair, pair.lead) for pair in pairs if pair.lead and pair.lead.holm_p is not None]
    if not leads:
        if pairs and not any(pair.better for pair in pairs):
            yield (
                "Nothing was validated, so no site of a pair is named the better one, and what "
                "both give over it is not told."
            )
        return
    named = []
    for pair, lead in leads:
        if is_significant(lead):
            named.append(f"{_sites(pair)} by {points(lead.paired.difference.mean)} points")
    yield (
        f"{len(named) or 'None'} of {len(leads)} pairs of sites "
        f"{'differ' if len(named) > 1 else 'differs'} from the better of both alone, which "
        f"validation named, beyond noise, corrected for {len(leads)} tests (Holm)"
        f"{_listed(named)}."
    )


def _of_interactions(pairs: Sequence[Interaction]) -> Iterator[str]:
    """Yield which pairs give more, or less, than what their sites add up to."""
    tested = []
    for pair in pairs:
        if pair.interaction is not None and pair.interaction.holm_p is not None:
            tested.append((pair, pair.interaction))
    if not tested:
        return
    named = []
    for pair, interaction in tested:
        if is_significant(interaction):
            side = "more" if interaction.paired.difference.mean > 0 else "less"
            named.append(f"{_sites(pair)} give {side}")
    yield (
        f"{len(named) or 'None'} of {len(tested)} pairs of sites "
        f"{'interact' if len(named) > 1 else 'interacts'} beyond noise on log-odds, corrected "
        f"for {len(tested)} tests (Holm){_listed(named)}."
    )


def _of_untested(pairs: Sequence[Interaction]) -> Iterator[str]:
    """Yield the pairs whose interaction is not tested, with the reason."""
    named = []
    for pair in pairs:
        if pair.interaction is None:
            named.append(f"{_sites(pair)} ({_reason(pair.obstacle)})")
    if named:
        yield f"Not tested whether they interact: {'; '.join(named)}."


def _reason(obstacle: Obstacle | None) -> str:
    """Return why the interaction of a pair is not tested; empty where it is."""
    if obstacle is None:
        return ""
    if obstacle.needed is None:
        return "the numbers of its test images are not known"
    return f"to add up, both would need {percent(obstacle.needed)} % on validation"


def _sites(pair: Interaction) -> str:
    one, other = pair.sites
    return f"“{one}” with “{other}”"


def _listed(named: Sequence[str]) -> str:
    return f": {', '.join(named)}" if named else ""


def record_of_pair(pair: Interaction) -> dict[str, object]:
    """Return a pair as a row for other programs: fractions, and log-odds for the interaction."""
    gains = dict(zip(("first", "second", "both"), pair.gains, strict=True))
    tests = {"lead": pair.lead, "interaction": pair.interaction}
    columns: dict[str, object] = {
        "site": pair.sites[0],
        "other_site": pair.sites[1],
        "seeds": pair.gains[2].n,
        **interval_columns(gains),
        "better_site": pair.better,
    }
    for name, comparison in tests.items():
        difference = comparison.paired.difference if comparison else None
        columns |= interval_columns({name: difference})
        columns |= {f"{name}_{column}": p for column, p in p_values(comparison).items()}
    return {**columns, "not_tested": _reason(pair.obstacle) or None}
