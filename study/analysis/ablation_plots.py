"""The plots of an ablation: a forest of differences, and a map of layers and sites."""

from typing import TYPE_CHECKING

from study.analysis.ablation import AblationTable, Cell
from study.analysis.charts import (
    GREY,
    ORANGE,
    Chart,
    Panel,
    Plot,
    Series,
    drawn,
    png_bytes,
    style_plotly,
)
from study.analysis.formatting import difference, points, probability
from study.errors import SubsetError
from study.method.subsets import Term, parse

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Grid = dict[tuple[str, str], float]
"""The difference to the base in percentage points, by site and layers."""


def ablation_plots(table: AblationTable) -> tuple[Plot, ...]:
    """Draw the forest plot and, where cells vary single terms, the layer × site map."""
    return _forest_plot(table), _map_plot(table)


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


def _forest_plot(table: AblationTable) -> Plot:
    name, title = "ablation-forest", f"Difference of each cell to “{table.base_label}”"
    caption = (
        "Paired differences over common seeds with 95 % intervals, not corrected for their "
        "number. Grey cells are within noise after Holm’s correction."
    )
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(table.cells) if cell.comparison is not None]
    if not cells:
        return drawn(name, title, caption, "the base cell is the only one with a score")
    series = tuple(
        _forest_series(legend, color, [(y, cell) for y, cell in enumerate(cells) if chosen(cell)])
        for legend, color, chosen in (
            ("beyond noise", ORANGE, lambda cell: cell.beyond_noise),
            ("within noise", GREY, lambda cell: not cell.beyond_noise),
        )
    )
    chart = Chart(
        (
            Panel(
                f"difference of the {table.split} score, percentage points",
                "",
                tuple(one for one in series if one.x),
                y_names=[cell.label for cell in cells],
                x_line=0.0,
            ),
        ),
        height=1.5 + 0.32 * len(cells),
    )
    return drawn(name, title, caption, chart)


def _forest_series(name: str, color: str, cells: list[tuple[int, Cell]]) -> Series:
    compared = [(y, cell, cell.comparison) for y, cell in cells if cell.comparison is not None]
    return Series(
        name,
        [100 * c.paired.difference.mean for _, _, c in compared],
        [y for y, _, _ in compared],
        color=color,
        x_error=[100 * (c.paired.difference.half_width or 0.0) for _, _, c in compared],
        hover=[
            (
                cell.label,
                f"{difference(c.paired)} points, Holm p {probability(c.holm_p)}",
                cell.settings.subset or "",
            )
            for _, cell, c in compared
        ],
    )


def _map_plot(table: AblationTable) -> Plot:
    name, title = "ablation-map", "Layers and sites"
    readings = {
        "tunes a site in these layers alone": [
            only_term(cell.settings.subset) for cell in table.cells
        ],
        "leaves a site in these layers out": [
            left_out_term(cell.settings.subset, table.base.settings.subset) for cell in table.cells
        ],
    }
    # All fields of a map must mean the same, so take the reading that fits more cells.
    meaning, terms = max(
        readings.items(), key=lambda item: sum(term is not None for term in item[1])
    )
    caption = (
        f"Mean difference to “{table.base_label}”, in percentage points, of the cell that "
        f"{meaning}. Colour tells size, not certainty: for that see the forest."
    )
    grid: Grid = {}
    for cell, term in zip(table.cells, terms, strict=True):
        if term is not None and cell.comparison is not None:
            site = f"{term.encoder}.{term.site}"
            grid[site, _layers(term)] = 100 * cell.comparison.paired.difference.mean
    if len(grid) < 2:
        return Plot(name, title, caption, missing="too few cells vary a single term")
    return Plot(name, title, caption, _plotly_map(grid), _matplotlib_map(grid))


def _layers(term: Term) -> str:
    if term.layers is None:
        return "all"
    start, stop = term.layers
    return f"{start}:{'' if stop is None else stop}"


def _axes(grid: Grid) -> tuple[list[str], list[str]]:
    sites = sorted({site for site, _ in grid}, reverse=True)
    windows = sorted({window for _, window in grid}, key=_window_order)
    return sites, windows


def _window_order(window: str) -> tuple[float, float]:
    if window == "all":
        return (float("-inf"), 0.0)
    start, stop = window.split(":")
    return float(start), float(stop or "inf")


def _plotly_map(grid: Grid) -> "Figure":
    from plotly import graph_objects

    sites, windows = _axes(grid)
    values = [[grid.get((site, window)) for window in windows] for site in sites]
    limit = max(abs(value) for value in grid.values()) or 1.0
    figure = graph_objects.Figure(
        graph_objects.Heatmap(
            z=values,
            x=windows,
            y=sites,
            zmin=-limit,
            zmax=limit,
            colorscale="RdBu",
            text=[
                ["" if value is None else points(value / 100) for value in row] for row in values
            ],
            texttemplate="%{text}",
            hoverongaps=False,
            colorbar={"title": {"text": "points"}},
        )
    )
    # Plotly would read windows such as 0:4 as times of the day.
    figure.update_xaxes(title_text="layers", type="category")
    return style_plotly(figure, height=160 + 34 * len(sites))


def _matplotlib_map(grid: Grid) -> bytes:
    from matplotlib.figure import Figure as Canvas

    sites, windows = _axes(grid)
    limit = max(abs(value) for value in grid.values()) or 1.0
    values = [[grid.get((site, window), float("nan")) for window in windows] for site in sites]
    canvas = Canvas(
        figsize=(3.6 + 0.7 * len(windows), 1.4 + 0.34 * len(sites)), layout="constrained"
    )
    axis = canvas.subplots()
    picture = axis.imshow(
        values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", origin="lower"
    )
    axis.set_xticks(range(len(windows)), windows)
    axis.set_yticks(range(len(sites)), sites)
    axis.set_xlabel("layers")
    for (site, window), value in grid.items():
        # White on the dark ends of the scale, black in its pale middle.
        color = "white" if abs(value) > 0.6 * limit else "black"
        place = (windows.index(window), sites.index(site))
        axis.text(*place, points(value / 100), ha="center", va="center", fontsize=8, color=color)
    canvas.colorbar(picture, label="points")
    return png_bytes(canvas)
