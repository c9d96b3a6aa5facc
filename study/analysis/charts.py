"""Charts that are described once and drawn twice: interactive by plotly, as PNG by matplotlib."""

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# After Okabe and Ito: distinct for every kind of colour vision, on light and dark backgrounds.
BLUE, ORANGE, GREEN, PINK, GREY = "#3a8fc8", "#e07b39", "#2fa37c", "#c774a3", "#8a8a8a"
PALETTE = (BLUE, ORANGE, GREEN, PINK, GREY)

Marker = Literal["circle", "square", "diamond", "triangle", "cross", "star"]
_PLOTLY_MARKERS = {
    "circle": "circle",
    "square": "square",
    "diamond": "diamond",
    "triangle": "triangle-up",
    "cross": "x-thin",
    "star": "star",
}
_MATPLOTLIB_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle": "^",
    "cross": "x",
    "star": "*",
}

PANEL_WIDTH, PANEL_HEIGHT = 5.2, 3.8
"""The size of a panel in a PNG, in inches at 110 dots per inch."""


@dataclass(frozen=True)
class Series:
    """Points, or a line through them."""

    name: str
    """The name in the legend; series of the same name share an entry."""
    x: Sequence[Any]
    """The x of each point; strings make a categorical axis."""
    y: Sequence[Any]
    """The y of each point."""
    style: Literal["points", "line", "step", "dashed"] = "points"
    """How points are joined; a step holds a value until the next x."""
    marker: Marker = "circle"
    """The shape of the points."""
    color: str = BLUE
    """The colour of points and line."""
    opacity: float = 0.9
    """The opacity, from 0 to 1."""
    x_error: Sequence[float | None] | None = None
    """The half widths of horizontal error bars; None means no bars."""
    y_error: Sequence[float | None] | None = None
    """The half widths of vertical error bars; None means no bars."""
    hover: Sequence[Sequence[str]] | None = None
    """The lines of text that plotly shows at each point; None means its coordinates and name."""
    legend: bool = True
    """Whether the series has an entry in the legend."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    x_title: str
    """The title of the x axis, with its unit."""
    y_title: str
    """The title of the y axis, with its unit."""
    series: tuple[Series, ...]
    """The series, in the order in which they are drawn."""
    x_log: bool = False
    """Whether the x axis is logarithmic."""
    y_log: bool = False
    """Whether the y axis is logarithmic."""
    title: str = ""
    """The title above the axes."""
    count: bool = False
    """Whether y is a count; its axis then starts at 0 and has whole ticks."""
    x_names: Sequence[str] | None = None
    """The names of the x values 0, 1, …, from the left; None means that x is a number."""
    y_names: Sequence[str] | None = None
    """The names of the y values 0, 1, …, from the bottom; None means that y is a number."""
    x_line: float | None = None
    """The x of a vertical reference line, if any."""
    y_line: float | None = None
    """The y of a horizontal reference line, if any."""


@dataclass(frozen=True)
class Chart:
    """Panels side by side."""

    panels: tuple[Panel, ...]
    """The panels, from left to right."""
    height: float = field(default=PANEL_HEIGHT)
    """The height of the panels in inches; forest plots grow with their rows."""


def plotly_figure(chart: Chart) -> "Figure":
    """Draw an interactive chart; its transparent background suits light and dark pages."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=1,
        cols=len(chart.panels),
        subplot_titles=[panel.title for panel in chart.panels],
        horizontal_spacing=0.12,
    )
    named: set[str] = set()
    for column, panel in enumerate(chart.panels, start=1):
        for series in panel.series:
            trace = _plotly_trace(series, first=series.name not in named)
            figure.add_trace(trace, row=1, col=column)
            if series.legend:
                named.add(series.name)
        figure.update_xaxes(
            title_text=panel.x_title, type="log" if panel.x_log else None, row=1, col=column
        )
        figure.update_yaxes(
            title_text=panel.y_title, type="log" if panel.y_log else None, row=1, col=column
        )
        if panel.count:
            figure.update_yaxes(rangemode="tozero", row=1, col=column)
        if panel.x_names is not None:
            figure.update_xaxes(**_plotly_ticks(panel.x_names), row=1, col=column)
        if panel.y_names is not None:
            figure.update_yaxes(**_plotly_ticks(panel.y_names), row=1, col=column)
        if panel.x_line is not None:
            figure.add_vline(x=panel.x_line, line_dash="dot", line_color=GREY, row=1, col=column)
        if panel.y_line is not None:
            figure.add_hline(y=panel.y_line, line_dash="dot", line_color=GREY, row=1, col=column)
    return style_plotly(figure, height=int(110 * chart.height))


def style_plotly(figure: "Figure", *, height: int = 420) -> "Figure":
    """Set the style that all plotly figures share, those of Optuna included; return the figure."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 16, "t": 40, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY, "size": 12},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.08, "x": 0},
        title=None,
        hovermode="closest",
    )
    figure.update_xaxes(gridcolor="rgba(138,138,138,0.25)", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="rgba(138,138,138,0.25)", zeroline=False, automargin=True)
    return figure


def matplotlib_png(chart: Chart) -> bytes:
    """Draw a chart as a PNG with a white background."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import LogFormatter, MaxNLocator

    width = PANEL_WIDTH * len(chart.panels)
    figure = Canvas(figsize=(width, chart.height), layout="constrained")
    axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
    handles: dict[str, Any] = {}
    for axis, panel in zip(axes, chart.panels, strict=True):
        for log, scale, ticks in (
            (panel.x_log, axis.set_xscale, axis.xaxis),
            (panel.y_log, axis.set_yscale, axis.yaxis),
        ):
            if log:
                scale("log")
                # Label only powers of ten, more if the axis spans less than one; as 8, not 8 × 10⁰.
                ticks.set_major_formatter(LogFormatter())
                ticks.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        for series in panel.series:
            handle = _draw_matplotlib(axis, series)
            if series.legend:
                handles.setdefault(series.name, handle)
        axis.set_xlabel(panel.x_title)
        axis.set_ylabel(panel.y_title)
        axis.set_title(panel.title, fontsize=10)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(0.08)
        if panel.count:
            axis.set_ylim(bottom=0)
            axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        if panel.x_names is not None:
            axis.set_xticks(range(len(panel.x_names)), panel.x_names)
        if panel.y_names is not None:
            axis.set_yticks(range(len(panel.y_names)), panel.y_names)
        if panel.x_line is not None:
            axis.axvline(panel.x_line, linestyle=":", color=GREY)
        if panel.y_line is not None:
            axis.axhline(panel.y_line, linestyle=":", color=GREY)
    if len(handles) > 1:
        # An inch holds about 13 characters, and a marker is about 6 wide.
        columns = int(13 * width / (max(map(len, handles)) + 6))
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside upper center",
            ncols=max(1, min(3 * len(chart.panels), columns)),
            frameon=False,
            fontsize=9,
        )
    return png_bytes(figure)


def png_bytes(figure: Any) -> bytes:
    """Return a matplotlib figure as the bytes of a PNG."""
    contents = io.BytesIO()
    figure.savefig(contents, format="png", dpi=110, facecolor="white")
    return contents.getvalue()


def _plotly_trace(series: Series, *, first: bool) -> Any:
    from plotly import graph_objects

    joined = series.style != "points"
    mode = "lines" if joined else "markers"
    thin = series.marker == "cross"
    return graph_objects.Scatter(
        x=list(series.x),
        y=list(series.y),
        # Plotly interprets names as HTML.
        name=html.escape(series.name),
        mode=mode,
        opacity=series.opacity,
        marker={
            "symbol": _PLOTLY_MARKERS[series.marker],
            "color": series.color,
            "size": 13 if series.marker == "star" else 8,
            # Thin symbols have no area, so only their outline is visible.
            "line": {"width": 2 if thin else 0, "color": series.color},
        },
        line={
            "color": series.color,
            "width": 1.5,
            "shape": "hv" if series.style == "step" else "linear",
            "dash": "dash" if series.style == "dashed" else "solid",
        },
        error_x=_error_bars(series.x_error),
        error_y=_error_bars(series.y_error),
        hovertext=None
        if series.hover is None
        else ["<br>".join(html.escape(line) for line in lines) for lines in series.hover],
        hoverinfo="x+y+name" if series.hover is None else "text",
        legendgroup=series.name,
        showlegend=series.legend and first,
    )


def _plotly_ticks(names: Sequence[str]) -> dict[str, list[Any]]:
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [html.escape(name) for name in names],
    }


def _error_bars(half_widths: Sequence[float | None] | None) -> dict[str, Any] | None:
    if half_widths is None:
        return None
    return {"type": "data", "array": [width or 0.0 for width in half_widths], "thickness": 1.2}


def _draw_matplotlib(axis: Any, series: Series) -> Any:
    if series.style == "points":
        thin = series.marker == "cross"
        handle = axis.scatter(
            series.x,
            series.y,
            marker=_MATPLOTLIB_MARKERS[series.marker],
            s=110 if series.marker == "star" else 34,
            color=series.color,
            alpha=series.opacity,
            linewidths=1.5 if thin else 0,
            zorder=3,
        )
    else:
        (handle,) = axis.plot(
            series.x,
            series.y,
            color=series.color,
            alpha=series.opacity,
            linewidth=1.3,
            linestyle="--" if series.style == "dashed" else "-",
            drawstyle="steps-post" if series.style == "step" else "default",
        )
    if series.x_error is not None or series.y_error is not None:
        axis.errorbar(
            series.x,
            series.y,
            xerr=None if series.x_error is None else [width or 0.0 for width in series.x_error],
            yerr=None if series.y_error is None else [width or 0.0 for width in series.y_error],
            fmt="none",
            ecolor=series.color,
            capsize=2,
            alpha=series.opacity,
        )
    return handle


@dataclass(frozen=True)
class Plot:
    """One plot, drawn twice, or the reason why it cannot be drawn."""

    name: str
    """The name of its files, without the suffix."""
    title: str
    """The title, a few words."""
    caption: str
    """What the plot shows, and what it does not."""
    figure: "Figure | None" = None
    """The interactive figure; None when it cannot be drawn."""
    png: bytes | None = None
    """The same content as a PNG; None when it cannot be drawn."""
    missing: str | None = None
    """The reason why the plot cannot be drawn, if so."""


def drawn(name: str, title: str, caption: str, chart: Chart | str) -> Plot:
    """Draw a chart twice; instead of one, there may be the reason why there is none."""
    if isinstance(chart, str):
        return Plot(name, title, caption, missing=chart)
    return Plot(name, title, caption, plotly_figure(chart), matplotlib_png(chart))
