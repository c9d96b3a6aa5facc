"""How far tuning moved the parameters and the features of a model: table, chart and file."""

import math
from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.backbones.architecture import ENCODERS
from study.report.charts import (
    OTHER_MARKERS,
    PALETTE,
    Axis,
    Chart,
    Panel,
    Series,
    write_plots,
)
from study.report.formatting import Table
from study.results.drift import StudyDrift, TensorDrift, pooled_drift
from study.storage.atomic import write_atomically

BEFORE, AFTER = "pre", "post"


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart:
    """Draw the relative change of each tensor against its layer.

    Each encoder has a panel and each site a series.
    """
    sites = sorted({drift.site for drift in drifts})
    panels = []
    for encoder in ENCODERS:
        inside = [drift for drift in drifts if drift.encoder == encoder]
        places = _places(inside)
        points = {
            site: sorted(
                (places.index(_place(drift)), drift.relative)
                for drift in inside
                if drift.site == site and 0 < drift.relative < math.inf
            )
            for site in sites
        }
        series = tuple(
            Series(
                site,
                [x for x, _ in shown],
                [y for _, y in shown],
                marker=marker,
                color=color,
            )
            for (site, shown), (marker, color) in zip(
                points.items(), cycle(product(OTHER_MARKERS, PALETTE)), strict=False
            )
        )
        panels.append(
            Panel(
                Axis("layer", names=places),
                Axis("relative change (L2)", scale="log"),
                series,
                f"{encoder} encoder",
            )
        )
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
    named = {_place(drift) for drift in drifts}
    layers = range(1 + max((d.layer for d in drifts if d.layer is not None), default=-1))
    return [*({BEFORE} & named), *map(str, layers), *({AFTER} & named)]


def _place(drift: TensorDrift) -> str:
    outside = BEFORE if "ln_pre" in drift.site else AFTER
    return outside if drift.layer is None else str(drift.layer)


def to_csv(drifts: Sequence[TensorDrift]) -> str:
    """Return CSV with one row per tensor: name, place, change, norm before, relative change."""
    records = [{**vars(drift), "relative": drift.relative} for drift in drifts]
    return Table.from_records(records).csv()


def render_drift(drift: StudyDrift) -> Group:
    """Return the drift of each site, and of the features, for the terminal."""
    pooled = pooled_drift(drift.tensors, lambda drift: f"{drift.encoder} {drift.site}")
    changes = [[site, f"{v:.4f}"] for site, v in sorted(pooled.items(), key=lambda p: -p[1])]
    return Group(
        *([Table("Relative change (L2) over layers", ["site", "change"], changes)] * bool(changes)),
        *(
            Text(
                f"{what}: mean cosine {features.cosine:.4f}, linear CKA {features.cka:.4f} to "
                f"{before}."
            )
            for what, features, before in (
                ("Features of the class names", drift.text, "those before"),
                ("Features of the images", drift.images, "those before"),
                ("Rows of the head", drift.head, "the tuned features of its class names"),
            )
            if features is not None
        ),
    )


def write_drift(folder: Path, drift: StudyDrift) -> tuple[Path, ...]:
    """Write `drift.csv` and the plot into the study's folder; return the paths of the files."""
    path = folder / "drift.csv"
    write_atomically(path, to_csv(drift.tensors))
    return (path, *write_plots(folder, [drift_chart(drift.tensors)]))
