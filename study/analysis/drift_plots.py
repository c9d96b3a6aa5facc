"""The drift of a model's parameters as a chart, a plot and a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from study.analysis.charts import (
    PALETTE,
    Chart,
    Marker,
    Panel,
    Series,
    matplotlib_png,
    plotly_figure,
)
from study.analysis.drift import TensorDrift
from study.analysis.plots import Plot

BEFORE, AFTER = "pre", "post"
_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "triangle", "cross")


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart | str:
    """Relative change of each tensor against its layer, an encoder a panel, a site a series."""
    panels = []
    sites = sorted({drift.site for drift in drifts})
    for encoder in ("text", "vision"):
        inside = [drift for drift in drifts if drift.encoder == encoder]
        if not inside:
            continue
        places = _places(inside)
        series = []
        for index, site in enumerate(sites):
            points = sorted(
                (places.index(_place(drift)), drift.relative)
                for drift in inside
                if drift.site == site and 0 < drift.relative < math.inf
            )
            if not points:
                continue
            series.append(
                Series(
                    site,
                    [x for x, _ in points],
                    [y for _, y in points],
                    marker=_MARKERS[index // len(PALETTE) % len(_MARKERS)],
                    color=PALETTE[index % len(PALETTE)],
                    hover=[
                        (site, f"layer {places[x]}", f"relative change {y:.3g}") for x, y in points
                    ],
                )
            )
        panels.append(
            Panel(
                "layer",
                "relative change (L2)",
                tuple(series),
                y_log=True,
                title=f"{encoder} encoder",
                x_names=places,
            )
        )
    return Chart(tuple(panels), height=4.4) if panels else "no tuned tensor"


def _places(drifts: Sequence[TensorDrift]) -> list[str]:
    """Name the layers from the bottom up, and before and after them what lies outside."""
    top = max((drift.layer for drift in drifts if drift.layer is not None), default=-1)
    named = {_place(drift) for drift in drifts}
    places = [BEFORE, *(str(layer) for layer in range(top + 1)), AFTER]
    return [place for place in places if place in named or place not in (BEFORE, AFTER)]


def _place(drift: TensorDrift) -> str:
    if drift.layer is not None:
        return str(drift.layer)
    return BEFORE if "ln_pre" in drift.site else AFTER


def to_csv(drifts: Sequence[TensorDrift]) -> str:
    """One row a tensor: name, place, change, size, relative change."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "encoder", "layer", "site", "kind", "moved", "size", "relative"])
    for drift in drifts:
        layer = "" if drift.layer is None else drift.layer
        place = [drift.name, drift.encoder, layer, drift.site, drift.kind]
        writer.writerow([*place, drift.moved, drift.size, drift.relative])
    return text.getvalue()


def drift_plot(drifts: Sequence[TensorDrift]) -> Plot:
    """`drift_chart` as a plot with its caption."""
    chart = drift_chart(drifts)
    caption = (
        "Norm of the change of each tuned tensor as a share of its norm before; biases that were "
        "almost zero move by many times that. LayerNorms before "
        "the first and after the last layer stand at “pre” and “post”."
    )
    if isinstance(chart, str):
        return Plot("drift", "Drift", caption, missing=chart)
    return Plot("drift", "Drift", caption, plotly_figure(chart), matplotlib_png(chart))
