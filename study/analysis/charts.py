"""Charts as data: drawn by matplotlib as PNG and SVG files, by plotly with hover texts and zoom."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from study.errors import StudyError
from study.storage.atomic import write_atomically

# After Okabe and Ito: distinct for every kind of colour vision.
PALETTE = BLUE, ORANGE, GREEN, PINK, GREY = "#3a8fc8", "#e07b39", "#2fa37c", "#c774a3", "#8a8a8a"

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "x": "X", "star": "*"}
*OTHER_MARKERS, WINNER_MARKER = _MARKERS
"""The marker of the winner alone, and those of series that colours do not tell apart."""

PANEL_WIDTH, PANEL_HEIGHT = 5.2, 3.8
BAR_HEIGHT = 0.36
"""The height of a horizontal bar, where the rows are 1 apart."""
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.xmargin": 0.08,
    "axes.ymargin": 0.08,
    "grid.alpha": 0.25,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "savefig.dpi": 110,
    "savefig.facecolor": "white",
    # Equal charts are equal files.
    "svg.hashsalt": "chart",
    # A name with two dollar signs is no formula.
    "text.parse_math": False,
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:">
<title>{name}: interactive charts</title>
<style>body {{ margin: 0 auto; max-width: 75rem; padding: 1rem; font: 1rem system-ui; }}</style>
<script>{plotly}</script>
</head>
<body>
<h1>{name}</h1>
{charts}
</body>
</html>
"""


@dataclass(frozen=True)
class Series:
    """Marks of one kind, which share an entry in the legend."""

    name: str
    """The name in the legend; series of the same name share an entry."""
    x: Sequence[float]
    """The x of each mark."""
    y: Sequence[float]
    """The y of each mark."""
    style: Literal["points", "line", "step", "bars", "cells"] = "points"
    """What the marks are.

    A step holds a value until the next x. Bars are horizontal, from 0 to x. Cells are squares of
    size 1 that are coloured by `values`.
    """
    marker: str = "circle"
    """The shape of points, by plotly's name."""
    color: str = BLUE
    """The colour of all marks but cells."""
    opacity: float = 0.9
    """The opacity, from 0 to 1."""
    x_error: Sequence[float] | None = None
    """The half widths of horizontal error bars of points; None means no bars."""
    y_error: Sequence[float] | None = None
    """The half widths of vertical error bars of points; None means no bars."""
    values: Sequence[float] = ()
    """The number in each cell: red below 0, blue above, darker the further away."""
    hover: Sequence[Sequence[str]] | None = None
    """The lines of text that the interactive page shows at each mark; None means coordinates."""


@dataclass(frozen=True)
class Axis:
    """The x or the y of a panel."""

    title: str
    """The title, with its unit."""
    scale: Literal["linear", "log", "count"] = "linear"
    """What the axis is like; that of counts starts at 0 and has whole ticks."""
    names: Sequence[str] | None = None
    """The names of the values 0, 1, …; None means that values are numbers."""
    line: float | None = None
    """The value at which a dotted line crosses the panel, if any."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    """The series, in the order in which they are drawn."""
    title: str = ""
    """The title above the axes."""

    @property
    def shown(self) -> tuple[Series, ...]:
        """The series that have a mark."""
        return tuple(series for series in self.series if series.x)


@dataclass(frozen=True)
class Chart:
    """Panels side by side with their caption, or the reason why there is nothing to draw."""

    name: str
    """The name of its files, without the suffix."""
    title: str
    """The title, a few words."""
    caption: str
    """What the chart shows, and what it does not."""
    panels: tuple[Panel, ...]
    """The panels, from left to right."""
    otherwise: str
    """The reason why there is nothing to draw, where no series has a mark."""
    width: float = PANEL_WIDTH
    """The width of a panel in inches."""
    height: float = PANEL_HEIGHT
    """The height of the panels in inches; forest plots grow with their rows."""

    @property
    def shown(self) -> tuple[Panel, ...]:
        """The panels that have a mark."""
        return tuple(panel for panel in self.panels if panel.shown)

    @property
    def missing(self) -> str | None:
        """The reason why the chart cannot be drawn, if so."""
        return None if self.shown else self.otherwise


def draw(chart: Chart, *suffixes: str) -> dict[str, bytes]:
    """Draw a chart that has something to show, on a white background.

    Args:
        chart: the chart.
        suffixes: the formats, "png" or "svg".

    Returns:
        The contents of a file by its suffix.
    """
    import matplotlib.figure

    files = {suffix: io.BytesIO() for suffix in suffixes}
    width = chart.width * len(chart.shown)
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(width, chart.height), layout="constrained")
        (subplots,) = figure.subplots(1, len(chart.shown), squeeze=False)
        handles: dict[str, Any] = {}
        for axes, panel in zip(subplots, chart.shown, strict=True):
            for series in panel.shown:
                handles.setdefault(series.name, _draw_series(axes, series))
            _draw_axes(axes, panel)
        if len(handles) > 1:
            figure.legend(
                handles.values(),
                handles.keys(),
                loc="outside upper center",
                # An inch holds about 13 characters, and a marker is about 6 wide.
                ncols=max(1, int(13 * width / (max(map(len, handles)) + 6))),
            )
        for suffix, contents in files.items():
            figure.savefig(contents, format=suffix, metadata={"Date": None})
    return {suffix: contents.getvalue() for suffix, contents in files.items()}


def write_plots(folder: Path, charts: Sequence[Chart]) -> tuple[Path, ...]:
    """Write each chart as `plots/NAME.png` and `plots/NAME.svg`.

    Args:
        folder: the study's folder.
        charts: the charts, such as those from `make_plots`.

    Returns:
        The files written.
    """
    target = folder / "plots"
    target.mkdir(exist_ok=True)
    files = {
        target / f"{chart.name}.{suffix}": contents
        for chart in charts
        if not chart.missing
        for suffix, contents in draw(chart, "png", "svg").items()
    }
    for path, contents in files.items():
        write_atomically(path, contents)
    # A file from an earlier state of the study would look like a current one.
    for stale in {old for chart in charts for old in target.glob(f"{chart.name}.*")} - files.keys():
        stale.unlink()
    return tuple(files)


def write_interactive(folder: Path, charts: Sequence[Chart]) -> Path:
    """Write `interactive.html`, which needs no other file or network, into a study's folder.

    Args:
        folder: the study's folder.
        charts: the charts, in the order of the page.

    Returns:
        The path of the page.

    Raises:
        StudyError: plotly, an optional extra, is not installed.
    """
    try:
        from plotly.io import to_html
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise StudyError(
            "the interactive page needs the optional extra: "
            "pip install 'clipfit-study[interactive]'"
        ) from error
    sections = [
        f"<h2>{escape(chart.title)}</h2>\n<p>Not drawn: {escape(chart.missing)}.</p>"
        if chart.missing
        else f"<h2>{escape(chart.title)}</h2>\n<p>{escape(chart.caption)}</p>\n"
        + to_html(
            _plotly_figure(chart),
            # The toolbar would cover the legend; hovering, zooming and double clicks work anyway.
            {"displayModeBar": False, "responsive": True},
            include_plotlyjs=False,
            full_html=False,
        )
        for chart in charts
    ]
    name, page = escape(folder.resolve().name), folder / "interactive.html"
    write_atomically(
        page, _PAGE.format(name=name, plotly=get_plotlyjs(), charts="\n".join(sections))
    )
    return page


def _draw_axes(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator

    axes.set_title(panel.title)
    for side, axis, ticks, line in (
        ("x", panel.x, axes.xaxis, axes.axvline),
        ("y", panel.y, axes.yaxis, axes.axhline),
    ):
        axes.set(
            **{
                f"{side}label": axis.title,
                f"{side}scale": "log" if axis.scale == "log" else "linear",
            }
        )
        if axis.scale == "log":
            # Label only powers of ten, more if the axis spans less than one; as 8, not 8 × 10⁰.
            ticks.set_major_formatter(LogFormatter())
            ticks.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        if axis.scale == "count":
            axes.set(**{f"{side}lim": (0, None)})
            ticks.set_major_locator(MaxNLocator(integer=True))
        if axis.names is not None:
            axes.set(
                **{
                    f"{side}ticks": range(len(axis.names)),
                    f"{side}ticklabels": axis.names,
                    f"{side}lim": (-0.6, len(axis.names) - 0.4),
                }
            )
        if axis.line is not None:
            line(axis.line, linestyle=":", color=GREY)


def _draw_series(axes: Any, series: Series) -> Any:
    """Draw a series; return what stands for it in the legend."""
    from matplotlib import colormaps

    if series.style == "bars":
        return axes.barh(series.y, series.x, BAR_HEIGHT, color=series.color)
    if series.style == "cells":
        limit = max(map(abs, series.values)) or 1.0
        for x, y, value in zip(series.x, series.y, series.values, strict=True):
            axes.text(
                x,
                y,
                f"{value:+z.1f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if abs(value) > 0.6 * limit else "black",  # what reads well on it
            )
        colors = colormaps["RdBu"]([0.5 + value / (2 * limit) for value in series.values])
        return axes.bar(series.x, 0.94, 0.94, [y - 0.47 for y in series.y], color=colors)
    points = series.style == "points"
    return axes.errorbar(
        series.x,
        series.y,
        xerr=series.x_error,
        yerr=series.y_error,
        fmt=_MARKERS[series.marker] if points else "-",
        drawstyle="steps-post" if series.style == "step" else "default",
        color=series.color,
        alpha=series.opacity,
        markersize=11 if series.marker == WINNER_MARKER else 6,
        markeredgewidth=0,
        zorder=3 if points else 2,
    )


def _plotly_figure(chart: Chart) -> Any:
    # Plotly interprets all words as HTML.
    from plotly.subplots import make_subplots

    figure = make_subplots(
        cols=len(chart.shown),
        subplot_titles=[escape(panel.title) for panel in chart.shown],
        horizontal_spacing=0.12,
    )
    named: set[str] = set()
    for column, panel in enumerate(chart.shown, start=1):
        place = {"row": 1, "col": column}
        for series in panel.shown:
            figure.add_trace(
                _plotly_trace(series) | {"showlegend": series.name not in named}, **place
            )
            named.add(series.name)
        for axis, update, add_line in (
            (panel.x, figure.update_xaxes, figure.add_vline),
            (panel.y, figure.update_yaxes, figure.add_hline),
        ):
            update(
                title_text=escape(axis.title),
                type="log" if axis.scale == "log" else "linear",
                rangemode="tozero" if axis.scale == "count" else "normal",
                tickvals=None if axis.names is None else list(range(len(axis.names))),
                ticktext=axis.names and list(map(escape, axis.names)),
                automargin=True,
                **place,
            )
            if axis.line is not None:
                add_line(axis.line, line_dash="dot", line_color=GREY, **place)
    return figure.update_layout(
        template="plotly_white",
        height=110 * chart.height,
        margin={"t": 70, "b": 60},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.08},
        hovermode="closest",
    )


def _plotly_trace(series: Series) -> dict[str, Any]:
    line = {"type": "scatter", "mode": "lines", "line": {"color": series.color}}
    styles: dict[str, dict[str, Any]] = {
        "points": {
            "type": "scatter",
            "mode": "markers",
            "marker": {
                "color": series.color,
                "symbol": series.marker,
                "size": 13 if series.marker == WINNER_MARKER else 8,
            },
            "error_x": {"array": series.x_error},
            "error_y": {"array": series.y_error},
        },
        "line": line,
        "step": line | {"line_shape": "hv"},
        "bars": {
            "type": "bar",
            "orientation": "h",
            "width": BAR_HEIGHT,
            "marker_color": series.color,
        },
        "cells": {
            "type": "heatmap",
            "z": series.values,
            "zmid": 0,
            "colorscale": "RdBu",
            "showscale": False,
            "texttemplate": "%{z:+.1f}",
        },
    }
    hover = ["<br>".join(map(escape, lines)) for lines in series.hover or ()]
    return styles[series.style] | {
        "x": list(series.x),
        "y": list(series.y),
        "name": escape(series.name),
        "legendgroup": escape(series.name),
        "opacity": series.opacity,
        "hovertext": hover or None,
        "hoverinfo": "text" if hover else "x+y+name",
    }
