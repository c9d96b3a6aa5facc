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
from study.report.formatting import Table, with_notes
from study.report.sentences import sentences
from study.report.site_descriptions import ENCODER_NAMES
from study.results.drift import StudyDrift, TensorDrift, pooled_drift
from study.storage.atomic import write_atomically

BEFORE, AFTER = "pre", "post"
"""The names of what is before the first and after the last layer."""


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart:
    """Draw the relative change of each tensor against its layer.

    Each encoder has a panel and each site a series.
    """
    sites = sorted({drift.site for drift in drifts})
    looks = dict(zip(sites, cycle(product(OTHER_MARKERS, PALETTE)), strict=False))
    change_axis = Axis("relative change (L2)", scale="log")
    panels = []
    for encoder in ENCODERS:
        of_encoder = [drift for drift in drifts if drift.encoder == encoder]
        layers = _layer_names(of_encoder)
        series = []
        for site, (marker, color) in looks.items():  # which are the same in every panel
            points = sorted(
                (layers.index(_layer_name(drift)), drift.relative)
                for drift in of_encoder
                if drift.site == site and 0 < drift.relative < math.inf
            )
            xs = [x for x, _ in points]
            changes = [change for _, change in points]
            series.append(Series(site, xs, changes, marker=marker, color=color))
        layer_axis = Axis("layer", names=layers)
        panels.append(Panel(layer_axis, change_axis, series, ENCODER_NAMES[encoder]))
    return Chart(
        "drift",
        "Drift",
        "Norm of the change of tuned tensors as a share of their norm before; biases that were "
        "almost zero move by many times that. Tensors that were zero or did not move are left out. "
        "LayerNorms before the first and after the last layer stand at “pre” and “post”.",
        panels,
        reason_if_empty="no tuned tensor",
        height=4.4,
    )


def _layer_names(drifts: Sequence[TensorDrift]) -> list[str]:
    """Return the names of the layers from the bottom up, with “pre” and “post” where needed."""
    used = {_layer_name(drift) for drift in drifts}
    last = max((drift.layer for drift in drifts if drift.layer is not None), default=-1)
    names = [BEFORE, *map(str, range(last + 1)), AFTER]
    return [name for name in names if name in used or name.isdecimal()]


def _layer_name(drift: TensorDrift) -> str:
    if drift.layer is not None:
        return str(drift.layer)
    if "ln_pre" in drift.site:
        return BEFORE
    return AFTER


def drift_csv(drifts: Sequence[TensorDrift]) -> str:
    """Return CSV with one row per tensor: name, place, change, norm before, relative change."""
    records = [vars(drift) | {"relative": drift.relative} for drift in drifts]
    return Table.from_records(records).csv()


def render_drift(drift: StudyDrift) -> Group:
    """Return the drift of each site, and of the features, for the terminal."""
    largest_first = sorted(pooled_drift(drift.tensors).items(), key=lambda item: -item[1])
    rows = [[site, f"{change:.4f}"] for site, change in largest_first]
    table = Table("Relative change (L2) over layers", ["site", "change"], rows)
    return Group(*with_notes([table]), *map(Text, sentences("report/drift", drift=drift)))


def write_drift(folder: Path, drift: StudyDrift) -> list[Path]:
    """Write `drift.csv` and the plot into the study's folder; return the paths of the files."""
    path = folder / "drift.csv"
    write_atomically(path, drift_csv(drift.tensors))
    return [path, *write_plots(folder, [drift_chart(drift.tensors)])]
