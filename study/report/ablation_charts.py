"""An ablation's charts: a forest plot of its cells, and a map of layers and sites."""

from collections.abc import Iterable
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
from study.results.ablation import AblationTable, Cell, left_out_term, only_term

Layers = tuple[int, int | None] | None
"""A window of layers, as in `study.method.subsets.Term.layers`; None means all layers."""


def ablation_plots(table: AblationTable) -> tuple[Chart, ...]:
    """Return the forest plot and, where cells vary single terms, the layer × site map."""
    return _forest_chart(table), _map_chart(table)


def _forest_chart(table: AblationTable) -> Chart:
    """Draw the difference of each cell to the base, with its interval."""
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(table.cells) if cell.comparison is not None]
    rows = list(enumerate(cells))
    beyond = [(row, cell) for row, cell in rows if cell.differs_from_base]
    within = [(row, cell) for row, cell in rows if not cell.differs_from_base]
    panel = Panel(
        Axis(f"difference of the {table.split} score, percentage points", line=0.0),
        Axis("", names=[cell.label for cell in cells]),
        (
            _difference_series("beyond noise", ORANGE, beyond),
            _difference_series("within noise", GREY, within),
        ),
    )
    return Chart(
        "ablation-forest",
        f"Difference of each cell to “{table.base.label}”",
        "Paired differences over common seeds with 95 % intervals, not corrected for their "
        "number. Grey cells are within noise once corrected for the number of tests (Holm).",
        (panel,),
        reason_if_empty="the base cell is the only one with a score",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def _difference_series(name: str, color: str, rows: Iterable[tuple[int, Cell]]) -> Series:
    """Return the differences of some cells to the base, in percentage points, each in its row."""
    means, ys, reaches = [], [], []
    for row, cell in rows:
        if cell.comparison is not None:
            difference = cell.comparison.paired.difference
            means.append(100 * difference.mean)
            ys.append(row)
            reaches.append(100 * (difference.reach or 0.0))
    return Series(name, means, ys, color=color, x_error=reaches)


def _map_chart(table: AblationTable) -> Chart:
    """Draw the difference of each cell that varies a single term, by its layers and its site."""
    meaning, points = _points_by_term(table)
    windows = sorted({layers for _, layers in points}, key=_window_order)
    sites = sorted({site for site, _ in points}, reverse=True)
    series = []
    if len(points) > 1:
        xs = [windows.index(layers) for _, layers in points]
        ys = [sites.index(site) for site, _ in points]
        values = list(points.values())
        series.append(Series("difference", xs, ys, style="cells", values=values))
    layers_axis = Axis("layers", names=[_window_name(layers) for layers in windows])
    return Chart(
        "ablation-map",
        "Layers and sites",
        f"Mean difference to “{table.base.label}”, in percentage points, of the cell that "
        f"{meaning}: blue is better, red is worse. Colour tells size, not certainty: for that see "
        "the forest.",
        (Panel(layers_axis, Axis("", names=sites), tuple(series)),),
        reason_if_empty="too few cells vary a single term",
        width=max(PANEL_WIDTH, 3.6 + 0.7 * len(windows)),
        height=1.4 + 0.34 * len(sites),
    )


def _points_by_term(table: AblationTable) -> tuple[str, dict[tuple[str, Layers], float]]:
    """Return what a cell of the map does, and its difference in points by site and layers."""
    only: dict[tuple[str, Layers], float] = {}
    left_out: dict[tuple[str, Layers], float] = {}
    for cell in table.cells:
        if cell.comparison is None:
            continue
        points = 100 * cell.comparison.paired.difference.mean
        subset = cell.settings.subset
        term = only_term(subset)
        if term is not None:
            only[f"{term.encoder}.{term.site}", term.layers] = points
        term = left_out_term(subset, table.base.settings.subset)
        if term is not None:
            left_out[f"{term.encoder}.{term.site}", term.layers] = points
    # All fields of a map must mean the same, so take the reading that fits more cells.
    if len(left_out) > len(only):
        return "leaves a site in these layers out", left_out
    return "tunes a site in these layers alone", only


def _window_order(layers: Layers) -> tuple[float, float]:
    """Return what windows are sorted by: all layers first, then by their start and stop."""
    if layers is None:
        return -inf, 0
    start, stop = layers
    if stop is None:
        return start, inf
    return start, stop


def _window_name(layers: Layers) -> str:
    if layers is None:
        return "all"
    start, stop = layers
    if stop is None:
        return f"{start}:"
    return f"{start}:{stop}"
