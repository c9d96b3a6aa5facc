"""An ablation's charts: a forest plot of its cells, and a map of layers and sites."""

from math import inf

from study.report.charts import (
    GREY,
    ORANGE,
    PANEL_WIDTH,
    Axis,
    Chart,
    Panel,
    Series,
)
from study.results.ablation import AblationTable, left_out_term, only_term


def ablation_plots(table: AblationTable) -> tuple[Chart, ...]:
    """Return the forest plot and, where cells vary single terms, the layer × site map."""
    return _forest_chart(table), _map_chart(table)


def _forest_chart(table: AblationTable) -> Chart:
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(table.cells) if cell.comparison]
    rows = [(y, cell, cell.comparison) for y, cell in enumerate(cells) if cell.comparison]
    series = (
        Series(
            name,
            [100 * comparison.paired.difference.mean for *_, comparison in shown],
            [y for y, *_ in shown],
            color=color,
            x_error=[100 * (c.paired.difference.reach or 0.0) for *_, c in shown],
        )
        for name, color, shown in (
            ("beyond noise", ORANGE, [row for row in rows if row[1].beyond_noise]),
            ("within noise", GREY, [row for row in rows if not row[1].beyond_noise]),
        )
    )
    return Chart(
        "ablation-forest",
        f"Difference of each cell to “{table.base.label}”",
        "Paired differences over common seeds with 95 % intervals, not corrected for their "
        "number. Grey cells are within noise once corrected for the number of tests (Holm).",
        (
            Panel(
                Axis(f"difference of the {table.split} score, percentage points", line=0.0),
                Axis("", names=[cell.label for cell in cells]),
                tuple(series),
            ),
        ),
        otherwise="the base cell is the only one with a score",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def _map_chart(table: AblationTable) -> Chart:
    # All fields of a map must mean the same, so take the reading that fits more cells.
    fields = {
        meaning: {
            (f"{term.encoder}.{term.site}", term.layers): 100 * c.paired.difference.mean
            for cell in table.cells
            if (c := cell.comparison) and (term := read(cell.settings.subset))
        }
        for meaning, read in (
            ("tunes a site in these layers alone", only_term),
            (
                "leaves a site in these layers out",
                lambda subset: left_out_term(subset, table.base.settings.subset),
            ),
        )
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
    return Chart(
        "ablation-map",
        "Layers and sites",
        f"Mean difference to “{table.base.label}”, in percentage points, of the cell that "
        f"{meaning}: blue is better, red is worse. Colour tells size, not certainty: for that see "
        "the forest.",
        (
            Panel(
                Axis(
                    "layers",
                    names=[
                        ":".join("" if end is None else str(end) for end in layers or ("all",))
                        for layers in windows
                    ],
                ),
                Axis("", names=sites),
                (cells,) if len(values) > 1 else (),
            ),
        ),
        otherwise="too few cells vary a single term",
        width=max(PANEL_WIDTH, 3.6 + 0.7 * len(windows)),
        height=1.4 + 0.34 * len(sites),
    )
