"""The output of a model's drift: on the terminal, as a plot and as a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.analysis.charts import (
    PALETTE,
    Chart,
    Marker,
    Panel,
    Plot,
    Series,
    drawn,
)
from study.analysis.drift import StudyDrift, TensorDrift, pooled_drift
from study.analysis.plots import write_plots
from study.analysis.tables import rich_table
from study.storage.atomic import write_atomically

BEFORE, AFTER = "pre", "post"
_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "triangle", "cross")


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart | str:
    """Draw the relative change of each tensor against its layer.

    Each encoder has a panel and each site a series.

    Returns:
        The chart, or the reason why there is none.
    """
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
    """Return the names of the layers from the bottom up, with “pre” and “post” where needed."""
    top = max((drift.layer for drift in drifts if drift.layer is not None), default=-1)
    named = {_place(drift) for drift in drifts}
    places = [BEFORE, *(str(layer) for layer in range(top + 1)), AFTER]
    return [place for place in places if place in named or place not in (BEFORE, AFTER)]


def _place(drift: TensorDrift) -> str:
    if drift.layer is not None:
        return str(drift.layer)
    return BEFORE if "ln_pre" in drift.site else AFTER


def to_csv(drifts: Sequence[TensorDrift]) -> str:
    """Return CSV with one row per tensor: name, place, change, norm before, relative change."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "encoder", "layer", "site", "kind", "moved", "size", "relative"])
    for drift in drifts:
        layer = "" if drift.layer is None else drift.layer
        place = [drift.name, drift.encoder, layer, drift.site, drift.kind]
        writer.writerow([*place, drift.moved, drift.size, drift.relative])
    return text.getvalue()


def drift_plot(drifts: Sequence[TensorDrift]) -> Plot:
    """Return the chart of `drift_chart` as a plot with its caption."""
    caption = (
        "Norm of the change of each tuned tensor as a share of its norm before; biases that were "
        "almost zero move by many times that. LayerNorms before "
        "the first and after the last layer stand at “pre” and “post”."
    )
    return drawn("drift", "Drift", caption, drift_chart(drifts))


def render_drift(drift: StudyDrift) -> Group:
    """Return the drift of each site, and of the features, for the terminal."""
    pooled = pooled_drift(drift.tensors, lambda drift: f"{drift.encoder} {drift.site}")
    cells = [[site, f"{value:.4f}"] for site, value in sorted(pooled.items(), key=lambda p: -p[1])]
    return Group(
        rich_table("Relative change (L2) over layers", ["site", "change"], cells, left=1),
        *(
            Text(
                f"Features of the {what}: mean cosine {features.cosine:.4f}, "
                f"linear CKA {features.cka:.4f} to those before."
            )
            for what, features in (("class names", drift.text), ("images", drift.images))
            if features is not None
        ),
    )


def write_drift(folder: Path, drift: StudyDrift) -> tuple[Path, ...]:
    """Write `drift.csv` and the plot into the study's folder; return the paths of the files."""
    path = folder / "drift.csv"
    write_atomically(path, to_csv(drift.tensors))
    return (path, *write_plots(folder, [drift_plot(drift.tensors)]))
