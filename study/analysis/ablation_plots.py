"""The charts of an ablation: a forest of differences, and a map of layers and sites."""

from collections.abc import Sequence
from math import inf

from study.analysis.ablation import AblationTable, Cell
from study.analysis.charts import GREY, ORANGE, PANEL_WIDTH, Axis, Chart, Panel, Series
from study.analysis.comparison import Comparison
from study.analysis.formatting import difference, probability
from study.errors import SubsetError
from study.method.subsets import Term, parse


def ablation_plots(table: AblationTable) -> tuple[Chart, ...]:
    """Return the forest plot and, where cells vary single terms, the layer × site map."""
    return _forest_chart(table), _map_chart(table)


def only_term(subset: str | None) -> Term | None:
    """Return the only term of a subset that just adds this term, else None."""
    terms = _terms(subset)
    return terms[0][1] if len(terms) == 1 and terms[0][0] > 0 else None


def left_out_term(subset: str | None, base: str | None) -> Term | None:
    """Return the term that a subset leaves out, if that is its only difference to the base."""
    subset_terms, base_terms = _terms(subset), _terms(base)
    changes = [(sign, term) for sign, term in subset_terms if (sign, term) not in base_terms]
    missing = [(sign, term) for sign, term in base_terms if (sign, term) not in subset_terms]
    if len(changes) == 1 and changes[0][0] < 0 and not missing:
        return changes[0][1]
    if len(missing) == 1 and missing[0][0] > 0 and not changes:
        return missing[0][1]
    return None


def _terms(subset: str | None) -> tuple[tuple[int, Term], ...]:
    try:
        return parse(subset or "none").terms
    except SubsetError:
        return ()


def _forest_chart(table: AblationTable) -> Chart:
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(table.cells) if cell.comparison]
    rows = [(y, cell, cell.comparison) for y, cell in enumerate(cells) if cell.comparison]
    series = (
        _forest_series("beyond noise", ORANGE, [row for row in rows if row[1].beyond_noise]),
        _forest_series("within noise", GREY, [row for row in rows if not row[1].beyond_noise]),
    )
    title = f"difference of the {table.split} score, percentage points"
    return Chart(
        "ablation-forest",
        f"Difference of each cell to “{table.base_label}”",
        "Paired differences over common seeds with 95 % intervals, not corrected for their "
        "number. Grey cells are within noise after Holm’s correction.",
        (Panel(Axis(title, line=0.0), Axis("", names=[cell.label for cell in cells]), series),),
        otherwise="the base cell is the only one with a score",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def _forest_series(name: str, color: str, rows: Sequence[tuple[int, Cell, Comparison]]) -> Series:
    return Series(
        name,
        [100 * comparison.paired.difference.mean for *_, comparison in rows],
        [y for y, *_ in rows],
        color=color,
        x_error=[100 * (c.paired.difference.half_width or 0.0) for *_, c in rows],
        hover=[
            (
                cell.label,
                f"{difference(c.paired)} points, Holm p {probability(c.holm_p)}",
                cell.settings.subset or "",
            )
            for _, cell, c in rows
        ],
    )


def _map_chart(table: AblationTable) -> Chart:
    base = table.base.settings.subset
    readings = {
        "tunes a site in these layers alone": only_term,
        "leaves a site in these layers out": lambda subset: left_out_term(subset, base),
    }
    # All fields of a map must mean the same, so take the reading that fits more cells.
    fields = {
        meaning: {
            (f"{term.encoder}.{term.site}", term.layers): 100 * c.paired.difference.mean
            for cell in table.cells
            if (c := cell.comparison) and (term := read(cell.settings.subset))
        }
        for meaning, read in readings.items()
    }
    meaning, values = max(fields.items(), key=lambda item: len(item[1]))
    sites = sorted({site for site, _ in values}, reverse=True)
    windows = sorted(
        {layers for _, layers in values},
        key=lambda layers: [inf if end is None else end for end in layers or (-inf, 0)],
    )
    cells = Series(
        "difference",
        [windows.index(layers) for _, layers in values],
        [sites.index(site) for site, _ in values],
        style="cells",
        values=list(values.values()),
    )
    names = [":".join("" if end is None else str(end) for end in w or ("all",)) for w in windows]
    return Chart(
        "ablation-map",
        "Layers and sites",
        f"Mean difference to “{table.base_label}”, in percentage points, of the cell that "
        f"{meaning}: blue is better, red is worse. Colour tells size, not certainty: for that see "
        "the forest.",
        (
            Panel(
                Axis("layers", names=names),
                Axis("", names=sites),
                (cells,) if len(values) > 1 else (),
            ),
        ),
        otherwise="too few cells vary a single term",
        width=max(PANEL_WIDTH, 3.6 + 0.7 * len(windows)),
        height=1.4 + 0.34 * len(sites),
    )
