"""Charts as data, drawn by matplotlib as PNG and SVG files."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from study.report.formatting import HoverText
from study.storage.atomic import write_atomically

# After Okabe and Ito: distinct for every kind of colour vision.
PALETTE = BLUE, ORANGE, GREEN, PINK, GREY = "#3a8fc8", "#e07b39", "#2fa37c", "#c774a3", "#8a8a8a"
OLIVE, VIOLET, BROWN = "#a89b2c", "#7a6fd0", "#7d4a2d"
COLORS = {"pink": PINK, "olive": OLIVE, "violet": VIOLET, "brown": BROWN}
"""The colours of the peers, by the names that the table of peers has for them."""

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "x": "X", "star": "*"}
WINNER_MARKER = "star"
"""The marker that the winner alone has."""
OTHER_MARKERS = tuple(marker for marker in _MARKERS if marker != WINNER_MARKER)
"""The markers that tell series of one colour apart."""

PANEL_WIDTH, PANEL_HEIGHT = 5.2, 3.8
"""The size of a panel in inches, unless a chart sets its own."""
BAR_HEIGHT = 0.36
"""The height of a horizontal bar, where the rows are 1 apart."""
MANY_NAMES = 24
"""The largest number of names along an axis in full size, and of rows whose shares are written."""
_LONG_NAME = 8
"""The most characters of a name that lies below an axis; longer names are turned upright."""
_UNSAID = ("Date", "Creator", "Format", "Type")
"""The metadata that files do not have."""
_HOVER = re.compile(rb'<g id="hover: ([^"]*)">')
"""The group of a name in an SVG, with what it says under the mouse in place of an id."""
_STYLE = Path(__file__).with_suffix(".mplstyle")


Errors = Sequence[float] | tuple[Sequence[float], Sequence[float]]
"""The half widths of error bars, or their lengths below and above each mark."""


class Series(NamedTuple):
    """Marks of one kind, which share an entry in the legend."""

    name: str
    """The name in the legend; series of the same name share an entry."""
    x: Sequence[float]
    """The x of each mark."""
    y: Sequence[float]
    """The y of each mark."""
    style: Literal["points", "line", "step", "bars", "cells", "shares"] = "points"
    """The kind of the marks.

    A step holds a value until the next x. Bars are horizontal, from 0 to x. Cells are squares of
    size 1, coloured by `values` and with their numbers, unless the chart is large. Shares are such
    squares for values from -100 to 100: their colours also tell small shares apart, and their
    numbers have no sign.
    """
    marker: str = "circle"
    """The shape of points."""
    color: str = BLUE
    """The colour of all marks but cells and shares."""
    opacity: float = 0.9
    """The opacity, from 0 to 1."""
    x_error: Errors | None = None
    """The lengths of horizontal error bars of points and bars; None means none."""
    y_error: Errors | None = None
    """The lengths of vertical error bars of points; None means none."""
    values: Sequence[float] = ()
    """The number in each cell: red below 0, blue above, darker the further away."""


def cell_series(
    name: str,
    values: Mapping[tuple[Any, Any], float],
    columns: Sequence[Any],
    rows: Sequence[Any],
    **style: Any,
) -> Series:
    """Return a series with a square for each value, which stands under its column and its row."""
    xs = [columns.index(column) for column, _ in values]
    ys = [rows.index(row) for _, row in values]
    return Series(name, xs, ys, values=list(values.values()), **style)


class Axis(NamedTuple):
    """The x or the y of a panel."""

    title: str
    """The title, with its unit."""
    scale: Literal["linear", "log", "count"] = "linear"
    """The scale; that of counts starts at 0 and has whole ticks."""
    names: Sequence[str] | None = None
    """The names of the values 0, 1, …, some of which may be empty; None means that values are
    numbers. A browser shows what a name has to say under the mouse."""
    line: float | None = None
    """The value at which a dotted line crosses the panel, if any."""


class Panel(NamedTuple):
    """One pair of axes."""

    x: Axis
    y: Axis
    series: Sequence[Series]
    """The series, in the order in which they are drawn."""
    title: str = ""
    """The title above the axes."""

    @property
    def series_with_marks(self) -> list[Series]:
        """The series that have at least one mark."""
        return [series for series in self.series if series.x]


@dataclass(frozen=True)
class Chart:
    """Panels side by side with their caption, or the reason why there is nothing to draw."""

    name: str
    """The name of its files, without the suffix."""
    title: str
    """The title, a few words."""
    caption: str
    """What the chart shows, and what it does not."""
    panels: Sequence[Panel]
    """The panels, from left to right."""
    reason_if_empty: str
    """The reason why there is nothing to draw, where no series has a mark."""
    width: float = PANEL_WIDTH
    """The width of a panel in inches."""
    height: float = PANEL_HEIGHT
    """The height of the panels in inches; forest plots grow with their rows."""
    _files: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The files drawn so far, by suffix: a study's folder and its report have the same pictures."""

    @cached_property
    def _figure(self) -> Any:
        """The figure, in which everything has its place."""
        import matplotlib.figure

        panels = self.panels_with_marks
        width = self.width * len(panels)
        with _style_of(self):
            figure = matplotlib.figure.Figure(figsize=(width, self.height), layout="constrained")
            (subplots,) = figure.subplots(1, len(panels), squeeze=False)
            handles: dict[str, Any] = {}
            for axes, panel in zip(subplots, panels, strict=True):
                for series in panel.series_with_marks:
                    handle = _draw_series(axes, series)
                    if handle:
                        handles.setdefault(series.name, handle)
                _draw_axes(axes, panel)
            if len(handles) > 1:
                # An inch holds about 13 characters, and a marker is about 6 wide.
                entry_width = max(map(len, handles)) + 6
                columns = max(1, int(13 * width / entry_width))
                figure.legend(
                    handles.values(), handles.keys(), loc="outside upper center", ncols=columns
                )
            # Places are found once; a figure that keeps its layout finds them twice a format.
            figure.draw_without_rendering()
            figure.set_layout_engine(None)
        return figure

    @property
    def panels_with_marks(self) -> list[Panel]:
        """The panels in which at least one series has a mark."""
        return [panel for panel in self.panels if panel.series_with_marks]

    @property
    def alternative(self) -> str:
        """What the chart shows, for those who cannot see it."""
        sentences = [self.title]
        for panel in self.panels_with_marks:
            names = [series.name for series in panel.series_with_marks]
            if panel.y.names is not None:  # the first row is the lowest
                names = [*reversed(panel.y.names)]
            shown = ", ".join(dict.fromkeys(name.replace("\n", " ") for name in names if name))
            sides = " against ".join(axis.title for axis in (panel.y, panel.x) if axis.title)
            sentences.append(f"{panel.title} {sides}: {shown}".strip())
        return ". ".join(sentences)

    @property
    def missing_reason(self) -> str | None:
        """The reason why the chart cannot be drawn; None if it can."""
        if self.panels_with_marks:
            return None
        return self.reason_if_empty


def prepare_drawing() -> None:
    """Import what draws charts and read its fonts, which takes a second, ahead of time.

    No other thread may draw meanwhile.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    figure.subplots().set_xscale("log")  # whose numbers are set as formulas
    for suffix in ("png", "svg"):
        figure.savefig(io.BytesIO(), format=suffix)


def draw(chart: Chart, suffix: str) -> bytes:
    """Return the file of a chart that has a mark, on a white background; draw it only once.

    Args:
        chart: the chart.
        suffix: the format, "png" or "svg".
    """
    if suffix not in chart._files:
        contents = io.BytesIO()
        with _style_of(chart):
            chart._figure.savefig(contents, format=suffix, metadata=dict.fromkeys(_UNSAID))
        chart._files[suffix] = _HOVER.sub(rb"<g><title>\1</title>", contents.getvalue())
    return chart._files[suffix]


def _style_of(chart: Chart) -> AbstractContextManager[None]:
    """Return the context in which matplotlib draws a chart."""
    import matplotlib.style

    # Equal charts are equal files, and no two charts of a page have a mark's id in common.
    return matplotlib.style.context([_STYLE, {"svg.hashsalt": chart.name}])


def write_plots(folder: Path, charts: Sequence[Chart]) -> list[Path]:
    """Write each chart as `plots/NAME.png` and `plots/NAME.svg`.

    Args:
        folder: the study's folder.
        charts: the charts, such as those from `make_plots`.

    Returns:
        The files written.
    """
    target = folder / "plots"
    target.mkdir(exist_ok=True)
    files = {}
    for chart in charts:
        if chart.missing_reason is None:
            for suffix in ("png", "svg"):
                files[target / f"{chart.name}.{suffix}"] = draw(chart, suffix)
    for path, contents in files.items():
        write_atomically(path, contents)
    # A file from an earlier state of the study would look like a current one.
    for chart in charts:
        for path in sorted(target.glob(f"{chart.name}.*")):
            if path not in files:
                path.unlink()
    return list(files)


def _draw_axes(axes: Any, panel: Panel) -> None:
    """Draw what stands around the marks of a panel, and the lines across it."""
    axes.set_title(panel.title)
    _draw_axis(axes, "x", panel.x, axes.axvline)
    _draw_axis(axes, "y", panel.y, axes.axhline)
    if panel.x.names and panel.y.names:
        axes.grid(visible=False)  # which would hide pale squares


def _draw_axis(axes: Any, side: Literal["x", "y"], axis: Axis, draw_line: Any) -> None:
    """Draw the title, the scale, the line, the ticks and the names of one axis."""
    from matplotlib.ticker import LogFormatter, MaxNLocator

    ticks = getattr(axes, f"{side}axis")
    ticks.set_label_text(axis.title)
    if axis.scale == "log":
        axes.set(**{f"{side}scale": "log"})
        # Label only powers of ten, more if the axis spans less than one; as 8, not 8 × 10⁰.
        ticks.set_major_formatter(LogFormatter())
        ticks.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    if axis.scale == "count":
        axes.set(**{f"{side}lim": (0, None)})
        ticks.set_major_locator(MaxNLocator(integer=True))
    if axis.line is not None:
        draw_line(axis.line, linestyle=":", color=GREY)
    if axis.names is None:
        return
    number = len(axis.names)
    ticks.set_ticks(range(number), axis.names)
    for label, name in zip(ticks.get_ticklabels(), axis.names, strict=True):
        if isinstance(name, HoverText):
            label.set_gid(f"hover: {name.hover}")
    axes.set(**{f"{side}lim": (-0.6, number - 0.4)})
    if number > MANY_NAMES:
        size = min(10, max(5, 600 / number))
        ticks.set_tick_params(labelsize=size, length=0)
    longest = max(map(len, axis.names), default=0)
    if side == "x" and longest > _LONG_NAME:
        ticks.set_tick_params(rotation=90)


def _draw_series(axes: Any, series: Series) -> Any:
    """Draw a series, and return the mark that stands for it in the legend."""
    if series.style == "bars":
        return axes.barh(
            series.y,
            series.x,
            BAR_HEIGHT,
            xerr=series.x_error,
            ecolor="black",  # the colour of the page's text
            color=series.color,
            alpha=series.opacity,
        )
    if series.style in ("cells", "shares"):
        return _draw_cells(axes, series)  # whose numbers need no legend
    form = "-"
    layer = 2
    if series.style == "points":
        form = _MARKERS[series.marker]
        layer = 3
    drawstyle = "steps-post" if series.style == "step" else "default"
    marker_size = 11 if series.marker == WINNER_MARKER else 6
    return axes.errorbar(
        series.x,
        series.y,
        xerr=series.x_error,
        yerr=series.y_error,
        fmt=form,
        drawstyle=drawstyle,
        color=series.color,
        alpha=series.opacity,
        markersize=marker_size,
        markeredgewidth=0,
        zorder=layer,
    )


def _draw_cells(axes: Any, series: Series) -> None:
    """Draw cells or shares as one picture: an SVG of ten thousand squares would be megabytes."""
    import numpy as np

    are_shares = series.style == "shares"
    grid = np.zeros((int(max(series.y)) + 1, int(max(series.x)) + 1))
    limit = max(map(abs, series.values)) or 1.0
    for x, y, value in zip(series.x, series.y, series.values, strict=True):
        depth = value / limit
        text = f"{value:+z.1f}"
        if are_shares:
            # A root, by which 1 % is visible beside 100 %.
            depth = math.copysign(math.sqrt(abs(value) / 100), value)
            text = f"{abs(value):.0f}" if abs(value) >= 0.5 else "<1"
        grid[int(y), int(x)] = depth
        if max(grid.shape) <= MANY_NAMES:
            # In the colour that reads well on a dark or a pale square.
            color = "white" if abs(depth) > 0.65 else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=color)
    axes.grid(visible=False)
    axes.imshow(
        grid,
        cmap=_signed_colors(),
        vmin=-1,
        vmax=1,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )


def _signed_colors() -> Any:
    """Return colours from red over nothing, which shows a page's light or dark ground, to blue."""
    from matplotlib.colors import LinearSegmentedColormap

    places = (0.0, 0.5, 0.5, 1.0)
    colors = ("#b2182b", "#b2182b00", "#2166ac00", "#2166ac")
    return LinearSegmentedColormap.from_list("signed", list(zip(places, colors, strict=True)))
