"""Charts as data, drawn by matplotlib as PNG and SVG files."""

import io
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from study.storage.atomic import write_atomically

# After Okabe and Ito: distinct for every kind of colour vision.
PALETTE = BLUE, ORANGE, GREEN, PINK, GREY = "#3a8fc8", "#e07b39", "#2fa37c", "#c774a3", "#8a8a8a"
OLIVE, VIOLET, BROWN = "#a89b2c", "#7a6fd0", "#7d4a2d"
COLORS = {"pink": PINK, "olive": OLIVE, "violet": VIOLET, "brown": BROWN}
"""The colours of methods other than CLIPFit, by the names that their table has for them."""

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "x": "X", "star": "*"}
*OTHER_MARKERS, WINNER_MARKER = _MARKERS
"""The marker of the winner alone, and those of series that colours do not tell apart."""

PANEL_WIDTH, PANEL_HEIGHT = 5.2, 3.8
BAR_HEIGHT = 0.36
"""The height of a horizontal bar, where the rows are 1 apart."""
MANY = 24
"""The largest number of names along an axis in full size, and of rows whose shares are written."""
LONG = 8
"""The longest name below an axis that lies; longer ones stand."""
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


@dataclass(frozen=True)
class Series:
    """Marks of one kind, which share an entry in the legend."""

    name: str
    """The name in the legend; series of the same name share an entry."""
    x: Sequence[float]
    """The x of each mark."""
    y: Sequence[float]
    """The y of each mark."""
    style: Literal["points", "line", "step", "bars", "cells", "shares"] = "points"
    """What the marks are.

    A step holds a value until the next x. Bars are horizontal, from 0 to x. Cells are squares of
    size 1 that are coloured by `values`, and so are shares, from -100 to 100, whose colours tell
    small ones apart and whose numbers are written without sign, or not at all where they are many.
    """
    marker: str = "circle"
    """The shape of points."""
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


@dataclass(frozen=True)
class Axis:
    """The x or the y of a panel."""

    title: str
    """The title, with its unit."""
    scale: Literal["linear", "log", "count"] = "linear"
    """What the axis is like; that of counts starts at 0 and has whole ticks."""
    names: Sequence[str] | None = None
    """The names of the values 0, 1, …, some of which may be empty; None means that values are
    numbers."""
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
    _files: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was drawn so far, by suffix: a study's folder and its report have the same pictures."""

    @cached_property
    def _figure(self) -> Any:
        """The figure, in which everything has its place."""
        return _laid_out(self)

    @property
    def shown(self) -> tuple[Panel, ...]:
        """The panels that have a mark."""
        return tuple(panel for panel in self.panels if panel.shown)

    @property
    def missing(self) -> str | None:
        """The reason why the chart cannot be drawn, if so."""
        return None if self.shown else self.otherwise


def get_ready_to_draw() -> None:
    """Import what draws charts, and read its fonts, which takes a second, before that is needed.

    Nothing may be drawn meanwhile in another thread.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    figure.subplots().set_xscale("log")  # whose numbers are set as formulas
    for suffix in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=suffix)


def draw(chart: Chart, *suffixes: str) -> dict[str, bytes]:
    """Draw a chart that has something to show, on a white background; each format is drawn once.

    Args:
        chart: the chart.
        suffixes: the formats, "png" or "svg".

    Returns:
        The contents of a file by its suffix.
    """
    for suffix in suffixes:
        if suffix not in chart._files:
            chart._files[suffix] = _drawn(chart, suffix)
    return {suffix: chart._files[suffix] for suffix in suffixes}


def _drawn(chart: Chart, suffix: str) -> bytes:
    contents = io.BytesIO()
    with _style_of(chart):
        chart._figure.savefig(contents, format=suffix, metadata={"Date": None})
    return contents.getvalue()


def _style_of(chart: Chart) -> AbstractContextManager[None]:
    import matplotlib

    axes_of = [axis for panel in chart.shown for axis in (panel.x, panel.y)]
    # The outlines of a hundred names would be most of a report: they are left to the reader's font.
    written = {"svg.fonttype": "none"} if any(len(a.names or ()) > MANY for a in axes_of) else {}
    return matplotlib.rc_context(_STYLE | written)


def _laid_out(chart: Chart) -> Any:
    import matplotlib.figure

    width = chart.width * len(chart.shown)
    with _style_of(chart):
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
        # Places are found once; a figure that keeps its layout finds them twice for each format.
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
    return figure


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
            if len(axis.names) > MANY:
                ticks.set_tick_params(labelsize=min(10, max(5, 600 / len(axis.names))), length=0)
            if side == "x" and max(map(len, axis.names), default=0) > LONG:
                ticks.set_tick_params(rotation=90)
        if axis.line is not None:
            line(axis.line, linestyle=":", color=GREY)


def _draw_series(axes: Any, series: Series) -> Any:
    """Draw a series; return what stands for it in the legend."""
    from matplotlib import colormaps

    if series.style == "bars":
        return axes.barh(series.y, series.x, BAR_HEIGHT, color=series.color, alpha=series.opacity)
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
    if series.style == "shares":
        return _draw_shares(axes, series)
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


def _draw_shares(axes: Any, series: Series) -> Any:
    """Draw shares as one picture, since an SVG of ten thousand squares would be megabytes."""
    import numpy as np

    columns, rows = (int(max(places)) + 1 for places in (series.x, series.y))
    grid = np.zeros((rows, columns))
    for x, y, value in zip(series.x, series.y, series.values, strict=True):
        grid[int(y), int(x)] = root_of(value)
        if max(rows, columns) <= MANY:
            deep = abs(root_of(value)) > 0.7
            axes.text(
                x,
                y,
                f"{abs(value):.0f}" if abs(value) >= 0.5 else "<1",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if deep else "black",
            )
    axes.grid(visible=False)
    return axes.imshow(
        grid, cmap="RdBu", vmin=-1, vmax=1, origin="lower", aspect="auto", interpolation="nearest"
    )


def root_of(share: float) -> float:
    """Return the place of a share on the scale of colours, where 1 % is visible beside 100 %."""
    return math.copysign(math.sqrt(abs(share) / 100), share)
