"""An ablation's charts: a forest plot of its cells, and a map of layers and sites."""

from math import inf

from study.method.subsets import Term
from study.report.charts import (
    GREY,
    ORANGE,
    PANEL_WIDTH,
    Axis,
    Chart,
    Panel,
    Series,
    cell_series,
)
from study.results.ablation import Ablation, left_out_term, only_term

Window = tuple[float, float, str]
"""The start and the stop of a window of layers, by which windows are sorted, and its name."""


def ablation_plots(table: Ablation) -> list[Chart]:
    """Return the forest plot, and the map of cells that vary a term."""
    return [_forest_chart(table), _map_chart(table)]


def _forest_chart(table: Ablation) -> Chart:
    """Draw the difference of each cell to the base, with its interval."""
    cells = []
    differences = []
    # From bottom to top, so that the best cell is the uppermost.
    for cell in reversed(table.cells):
        if cell.comparison:
            cells.append(cell)
            differences.append(cell.comparison)
    series = []
    for name, color, is_beyond in (("beyond noise", ORANGE, True), ("within noise", GREY, False)):
        rows = [n for n, cell in enumerate(cells) if (cell.finding == "significant") == is_beyond]
        means = [100 * differences[row].mean for row in rows]
        reaches = [100 * (differences[row].reach or 0.0) for row in rows]
        series.append(Series(name, means, rows, color=color, x_error=reaches))
    axis = Axis(f"difference of the {table.split} score, percentage points", line=0.0)
    return Chart(
        "ablation-forest",
        "Difference of each cell to “base”",
        "Paired differences over common seeds with 95 % intervals, not corrected for their "
        "number. Grey cells are not told apart once corrected for the number of tests (Holm).",
        [Panel(axis, Axis("", names=[cell.label for cell in cells]), series)],
        reason_if_empty="no cell can be compared with the base",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def _map_chart(table: Ablation) -> Chart:
    """Draw the difference of each cell that varies a single term, by its layers and its site."""
    only: dict[tuple[Window, str], float] = {}
    left_out: dict[tuple[Window, str], float] = {}
    base = table.base.settings.subset if table.base else "none"
    for cell in table.cells:
        subset = cell.settings.subset
        for points, term in ((only, only_term(subset)), (left_out, left_out_term(subset, base))):
            if term and cell.comparison:
                window = _window_of(term)
                points[window, f"{term.encoder}.{term.site}"] = 100 * cell.comparison.mean
    # All fields of a map must mean the same, so take the reading that fits more cells.
    points = only
    meaning = "tunes a site in these layers alone"
    if len(left_out) > len(only):
        points = left_out
        meaning = "leaves a site in these layers out"
    windows = sorted({window for window, _ in points})
    sites = sorted({site for _, site in points}, reverse=True)
    series = []
    if len(points) > 1:
        series.append(cell_series("difference", points, windows, sites, style="cells"))
    layers_axis = Axis("layers", names=[name for _, _, name in windows])
    return Chart(
        "ablation-map",
        "Layers and sites",
        "Mean difference to “base”, in percentage points, of the cell that "
        f"{meaning}: blue is better, red is worse. Colour tells size, not certainty: for that see "
        "the forest.",
        [Panel(layers_axis, Axis("", names=sites), series)],
        reason_if_empty="too few cells vary a single term",
        width=max(PANEL_WIDTH, 3.6 + 0.7 * len(windows)),
        height=1.4 + 0.34 * len(sites),
    )


def _window_of(term: Term) -> Window:
    """Return the window of layers of a term; all layers come first, and an open end last."""
    if term.layers is None:
        return -inf, 0, "all"
    start, stop = term.layers
    if stop is None:
        return start, inf, f"{start}:"
    return start, stop, f"{start}:{stop}"
