"""How far tuning moved the parameters and the features of a model: chart, file and words."""

import math
from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

from study.backbones.architecture import ENCODERS
from study.report.charts import MARKERS, PALETTE, Chart, Painter, log_scale, name_axis, write_charts
from study.report.tables import records_csv
from study.results.drift import StudyDrift, TensorDrift
from study.storage.atomic import write_atomically


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart:
    """Draw the relative change of each tensor against its layer, one panel per encoder."""
    drawn = [drift for drift in drifts if 0 < drift.relative < math.inf]
    sites = sorted({drift.site for drift in drawn})
    looks = dict(zip(sites, cycle(product(MARKERS, PALETTE)), strict=False))
    painters: list[Painter] = []
    for encoder in ENCODERS:
        moved = [drift for drift in drawn if drift.encoder == encoder]

        def paint(axes: Any, encoder: str = encoder, moved: list[TensorDrift] = moved) -> None:
            last = max((drift.layer for drift in moved if drift.layer is not None), default=-1)
            layers = ["pre", *map(str, range(last + 1)), "post"]
            for site, (marker, color) in looks.items():  # which are the same in every panel
                of_site = [drift for drift in moved if drift.site == site]
                if of_site:
                    xs = [layers.index(_layer_name(drift)) for drift in of_site]
                    ys = [drift.relative for drift in of_site]
                    axes.plot(xs, ys, linestyle="", marker=marker, color=color, label=site)
            log_scale(axes, "y")
            name_axis(axes, "x", layers)
            axes.set(xlabel="layer", ylabel="relative change (L2)", title=f"{encoder} encoder")

        if moved:
            painters.append(paint)
    return Chart(
        "drift",
        "Drift",
        "Norm of the change of each tuned tensor, divided by its norm before tuning; large for "
        "biases that were almost zero. Tensors that were zero or did not change are omitted. “pre” "
        "and “post” are LayerNorms before the first and after the last layer.",
        painters,
        reason_if_empty="no tuned tensor",
        height=4.4,
    )


def _layer_name(drift: TensorDrift) -> str:
    if drift.layer is not None:
        return str(drift.layer)
    return "pre" if "ln_pre" in drift.site else "post"


def describe_drift(drift: StudyDrift) -> str:
    """Return the drift of the features, one line each; the chart shows that of the tensors."""
    compared = {
        "Features of the class names before and after tuning": drift.text,
        "Features of the images before and after tuning": drift.images,
    }
    return "\n".join(
        f"{what}: mean cosine {features.cosine:.4f}, linear CKA {features.cka:.4f}."
        for what, features in compared.items()
        if features
    )


def write_drift(folder: Path, drift: StudyDrift) -> list[Path]:
    """Write `drift.csv`, one row per tensor, and the chart into a study's folder."""
    path = folder / "drift.csv"
    records = [vars(one) | {"relative": one.relative} for one in drift.tensors]
    write_atomically(path, records_csv(records))
    return [path, *write_charts(folder, [drift_chart(drift.tensors)])]
