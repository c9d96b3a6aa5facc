"""Charts on an interactive page: drawn by plotly, with hover texts and zoom."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from study.analysis.charts import BAR_HEIGHT, GREY, WINNER_MARKER, Chart, Series, root_of
from study.errors import StudyError
from study.storage.atomic import write_atomically

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
        "shares": {
            "type": "heatmap",
            "z": list(map(root_of, series.values)),
            "zmin": -1,
            "zmax": 1,
            "colorscale": "RdBu",
            "showscale": False,
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
