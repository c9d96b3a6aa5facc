"""How far tuning moved the parameters and the features of a model.

Run as `python -m study.analysis.drift runs/NAME [--trial ID]...`.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from study.analysis.charts import PALETTE, Chart, Marker, Panel, Series
from study.analysis.confirmation import leaderboard
from study.analysis.leaderboard import rich_table
from study.analysis.results import open_study, read_results
from study.errors import DataError, DeltaError, StudyError
from study.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from study.method.delta import DeltaInfo
    from study.method.model import Backbone

_NAME = re.compile(
    r"(?P<encoder>text|vision)_model\.(encoder\.layers\.(?P<layer>\d+)\.)?"
    r"(?P<module>.+)\.(?P<tensor>weight|bias)"
)
_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "triangle", "cross")


@dataclass(frozen=True)
class TensorDrift:
    """How far one tensor moved.

    Attributes:
        name: of the tensor in the transformers model.
        encoder: "text" or "vision".
        layer: block from the bottom; None outside the blocks.
        site: of the subset language, with its tensor: ``mlp.fc2.bias``, ``ln1.weight``.
        kind: "ln" for LayerNorms, "bias" for other biases.
        moved: L2 norm of the change.
        size: L2 norm before.
    """

    name: str
    encoder: str
    layer: int | None
    site: str
    kind: str
    moved: float
    size: float

    @property
    def relative(self) -> float:
        """The change as a share of the size before; infinite for a tensor that was zero."""
        return self.moved / self.size if self.size else math.inf if self.moved else 0.0


@dataclass(frozen=True)
class FeatureDrift:
    """How far features moved.

    Attributes:
        cosine: mean cosine of each feature before with itself after; 1 when nothing turned.
        cka: linear centred kernel alignment; 1 when they differ by rotation and scale at most.
    """

    cosine: float
    cka: float


def parameter_drift(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> tuple[TensorDrift, ...]:
    """Measure how far each tuned tensor moved, in float64.

    Args:
        before: tensors of the backbone by transformers name; may hold more than was tuned.
        after: tuned tensors by the same names.

    Returns:
        One entry a tuned tensor, by name.

    Raises:
        DeltaError: a tuned tensor is not in the backbone, has another shape or another name
            than those that are tuned.
    """
    from study.method.freezing import MODULE_NAMES

    sites = {module: site for site, module in MODULE_NAMES.items()}
    drifts = []
    for name in sorted(after):
        if name not in before:
            raise DeltaError(f"tuned tensor '{name}' is not in the backbone")
        old, new = before[name].detach().double(), after[name].detach().double()
        if old.shape != new.shape:
            raise DeltaError(
                f"tuned tensor '{name}' has shape {tuple(new.shape)}; "
                f"the backbone's has {tuple(old.shape)}"
            )
        match = _NAME.fullmatch(name)
        if match is None:
            raise DeltaError(f"tuned tensor '{name}' is of neither encoder of a CLIP model")
        layer, site = match["layer"], sites.get(match["module"], match["module"])
        drifts.append(
            TensorDrift(
                name=name,
                encoder=match["encoder"],
                layer=None if layer is None else int(layer),
                site=f"{site}.{match['tensor']}",
                kind="ln" if site.startswith("ln") else "bias",
                moved=(new - old).norm().item(),
                size=old.norm().item(),
            )
        )
    return tuple(drifts)


def mean_drift(runs: Sequence[Sequence[TensorDrift]]) -> tuple[TensorDrift, ...]:
    """Average change and size of each tensor over the runs that tuned it."""
    by_name: dict[str, list[TensorDrift]] = {}
    for drift in (drift for run in runs for drift in run):
        by_name.setdefault(drift.name, []).append(drift)
    return tuple(
        TensorDrift(
            name=name,
            encoder=found[0].encoder,
            layer=found[0].layer,
            site=found[0].site,
            kind=found[0].kind,
            moved=sum(drift.moved for drift in found) / len(found),
            size=sum(drift.size for drift in found) / len(found),
        )
        for name, found in sorted(by_name.items())
    )


def pooled_drift(
    drifts: Iterable[TensorDrift], key: Callable[[TensorDrift], str]
) -> dict[str, float]:
    """Relative L2 change of groups of tensors, each taken as one long vector."""
    moved: dict[str, float] = {}
    size: dict[str, float] = {}
    for drift in drifts:
        group = key(drift)
        moved[group] = moved.get(group, 0.0) + drift.moved**2
        size[group] = size.get(group, 0.0) + drift.size**2
    return {
        group: math.sqrt(moved[group] / size[group]) if size[group] else math.inf for group in moved
    }


def feature_drift(before: Tensor, after: Tensor) -> FeatureDrift:
    """Compare features of the same inputs before and after tuning, in float64.

    Args:
        before: features, (inputs, width).
        after: features of the same inputs in the same order, (inputs, width).

    Raises:
        ValueError: the shapes differ, or there are fewer than two inputs.
    """
    if before.ndim != 2 or before.shape != after.shape or len(before) < 2:
        raise ValueError(
            f"expected two matrices of one shape with at least two rows, got "
            f"{tuple(before.shape)} and {tuple(after.shape)}"
        )
    old, new = before.detach().double(), after.detach().double()
    cosine = ((old * new).sum(1) / (old.norm(dim=1) * new.norm(dim=1))).mean().item()
    old, new = old - old.mean(0), new - new.mean(0)
    # Kornblith et al. (2019), eq. 4: in feature space, since inputs may outnumber features.
    alignment = (new.T @ old).norm() ** 2 / ((old.T @ old).norm() * (new.T @ new).norm())
    return FeatureDrift(cosine, alignment.item())


def drift_chart(drifts: Sequence[TensorDrift]) -> Chart | str:
    """Relative change of each tensor against its layer, an encoder a panel, a site a series."""
    panels = []
    for encoder in ("text", "vision"):
        inside = [drift for drift in drifts if drift.encoder == encoder]
        if not inside:
            continue
        top = max((drift.layer for drift in inside if drift.layer is not None), default=-1)
        series = []
        for index, site in enumerate(sorted({drift.site for drift in inside})):
            points = sorted(
                (_position(drift, top), drift.relative)
                for drift in inside
                if drift.site == site and math.isfinite(drift.relative)
            )
            series.append(
                Series(
                    f"{encoder} {site}",
                    [x for x, _ in points],
                    [y for _, y in points],
                    marker=_MARKERS[index // len(PALETTE) % len(_MARKERS)],
                    color=PALETTE[index % len(PALETTE)],
                    hover=[(site, f"layer {x}", f"relative change {y:.3g}") for x, y in points],
                )
            )
        panels.append(
            Panel("layer", "relative change (L2)", tuple(series), title=f"{encoder} encoder")
        )
    return Chart(tuple(panels), height=4.4) if panels else "no tuned tensor"


def _position(drift: TensorDrift, top: int) -> int:
    if drift.layer is not None:
        return drift.layer
    return -1 if "ln_pre" in drift.site else top + 1


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


def study_drift(
    folder: Path, trial_ids: Sequence[str] = ()
) -> tuple[tuple[TensorDrift, ...], FeatureDrift]:
    """Measure the drift of trials of a study, averaged over them.

    Args:
        folder: the study's folder.
        trial_ids: trials to look at; none means the confirmation trials of the winner.

    Returns:
        Drift of each tuned tensor, and of the text features of the class names.

    Raises:
        DataError: there is no such trial, or it kept no tuned parameters.
        DeltaError: a delta is damaged or of another backbone.
        BackboneError: the backbone cannot be loaded.
    """
    from study.backbones import backbone_path
    from study.config_file import load_config
    from study.method.delta import load_delta
    from study.method.model import load_backbone

    study = open_study(folder)
    paths = [
        study.path / "trials" / trial_id / "delta.safetensors"
        for trial_id in trial_ids or _winners_trials(folder)
    ]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise DataError(f"no tuned parameters at {', '.join(missing)}")
    config = load_config(study.config_path).backbone
    backbone = load_backbone(backbone_path(config.name), revision=config.revision)
    before = dict(backbone.clip.named_parameters())
    runs, features = [], []
    for path in paths:
        tensors, info = load_delta(path)
        if info.fingerprint != backbone.fingerprint:
            raise DeltaError(f"{path} was tuned from another backbone than {config.name}")
        runs.append(parameter_drift(before, tensors))
        features.append(_text_drift(backbone, tensors, info))
    cosine = sum(drift.cosine for drift in features) / len(features)
    cka = sum(drift.cka for drift in features) / len(features)
    return mean_drift(runs), FeatureDrift(cosine, cka)


def _text_drift(backbone: Backbone, tensors: Mapping[str, Tensor], info: DeltaInfo) -> FeatureDrift:
    """Drift of the features of the class names; the backbone is left as it was."""
    import torch

    from study.data.prompts import prompts
    from study.method.delta import apply_delta

    names = [one for group in prompts(info.class_names, info.templates[:1]) for one in group]
    tokens = backbone.tokenize(names)
    tuned = copy.deepcopy(backbone.clip)
    apply_delta(tuned, tensors)
    with torch.no_grad():
        before, after = (
            clip.get_text_features(input_ids=tokens).pooler_output
            for clip in (backbone.clip, tuned)
        )
    return feature_drift(before, after)


def _winners_trials(folder: Path) -> list[str]:
    winner = leaderboard(folder).winner
    if winner is None:
        raise DataError(f"{folder}: nothing is confirmed yet; name trials by --trial")
    return [
        row["trial_id"]
        for row in read_results(folder).to_pylist()
        if row["stage"] == "confirm"
        and row["label"] == winner.label
        and row["test_score"] is not None
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, draw and save the drift of a study's winner or of given trials."""
    from study.analysis.charts import matplotlib_png, plotly_figure
    from study.analysis.plots import Plot, write_plots

    parser = argparse.ArgumentParser(
        prog="python -m study.analysis.drift", description="How far tuning moved the model."
    )
    parser.add_argument("folder", type=Path, help="the study's folder, runs/NAME")
    parser.add_argument(
        "--trial", action="append", default=[], help="trial id; repeat to average (the winner's)"
    )
    options = parser.parse_args(arguments)
    try:
        drifts, features = study_drift(options.folder, options.trial)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    pooled = pooled_drift(drifts, lambda drift: f"{drift.encoder} {drift.site}")
    cells = [[site, f"{value:.4f}"] for site, value in sorted(pooled.items(), key=lambda p: -p[1])]
    console = Console()
    console.print(rich_table("Relative change (L2) over layers", ["site", "change"], cells, left=1))
    console.print(
        f"Text features of the class names: mean cosine {features.cosine:.4f}, "
        f"linear CKA {features.cka:.4f} to those before."
    )
    chart = drift_chart(drifts)
    caption = (
        "Norm of the change of each tuned tensor as a share of its norm before. LayerNorms before "
        "the first and after the last layer stand at the ends."
    )
    plot = (
        Plot("drift", "Drift", caption, missing=chart)
        if isinstance(chart, str)
        else Plot("drift", "Drift", caption, plotly_figure(chart), matplotlib_png(chart))
    )
    write_atomically(options.folder / "drift.csv", to_csv(drifts))
    for path in (options.folder / "drift.csv", *write_plots(options.folder, [plot])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
