"""The output of a model's drift: on the terminal, as a plot and as a CSV file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.analysis.charts import OTHER_MARKERS, PALETTE, Axis, Chart, Panel, Series
from study.analysis.drift import StudyDrift, TensorDrift, pooled_drift
from study.analysis.plots import write_plots
from study.analysis.tables import Table
from study.storage.atomic import write_atomically

BEFORE, AFTER = "pre", "post"


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart:
    """Draw the relative change of each tensor against its layer.

    Each encoder has a panel and each site a series.
    """
    panels = []
    sites = sorted({drift.site for drift in drifts})
    for encoder in ("text", "vision"):
        inside = [drift for drift in drifts if drift.encoder == encoder]
        places = _places(inside)
        series = []
        for index, site in enumerate(sites):
            points = sorted(
                (places.index(_place(drift)), drift.relative)
                for drift in inside
                if drift.site == site and 0 < drift.relative < math.inf
            )
            series.append(
                Series(
                    site,
                    [x for x, _ in points],
                    [y for _, y in points],
                    marker=OTHER_MARKERS[index // len(PALETTE) % len(OTHER_MARKERS)],
                    color=PALETTE[index % len(PALETTE)],
                    hover=[
                        (site, f"layer {places[x]}", f"relative change {y:.3g}") for x, y in points
                    ],
                )
            )
        change = Axis("relative change (L2)", log=True)
        title = f"{encoder} encoder"
        panels.append(Panel(Axis("layer", names=places), change, tuple(series), title))
    return Chart(
        "drift",
        "Drift",
        "Norm of the change of each tuned tensor as a share of its norm before; biases that were "
        "almost zero move by many times that. LayerNorms before "
        "the first and after the last layer stand at “pre” and “post”.",
        tuple(panels),
        otherwise="no tuned tensor",
        height=4.4,
    )


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
    return Table.of([{**vars(drift), "relative": drift.relative} for drift in drifts]).csv()


def render_drift(drift: StudyDrift) -> Group:
    """Return the drift of each site, and of the features, for the terminal."""
    pooled = pooled_drift(drift.tensors, lambda drift: f"{drift.encoder} {drift.site}")
    cells = [[site, f"{value:.4f}"] for site, value in sorted(pooled.items(), key=lambda p: -p[1])]
    return Group(
        Table("Relative change (L2) over layers", ["site", "change"], cells),
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
    return (path, *write_plots(folder, [drift_chart(drift.tensors)]))
