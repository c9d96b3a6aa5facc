"""The scores of a sweep's studies, and published averages in the same setting."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from study.errors import DataError
from study.results.rows import Row
from study.results.study_result import read_study_result
from study.storage.study_folder import StudyFolder

SWEEP_FILE = "sweep.json"
"""The file in a study's folder that names its experiment and its values on the sweep's axes."""
PUBLISHED_DATASETS = 11
"""The number of datasets that the published averages are over."""
PUBLISHED_AVERAGES: Mapping[str, Sequence[tuple[str, float | None, float | None, float]]] = {
    "base_to_new 16": (
        ("CLIP", 69.34, 74.22, 71.70),
        ("CoOp", 82.69, 63.22, 71.66),
        ("CoCoOp", 80.47, 71.69, 75.83),
        ("KgCoOp", 80.73, 73.60, 77.00),
        ("MaPLe", 82.28, 75.14, 78.55),
        ("CLIPFit", None, None, 78.97),
        ("CLIP-LoRA", 84.10, 74.80, 79.18),
        ("2SFS", 85.55, 75.48, 80.20),
        ("LLaMP", 85.16, 77.71, 81.27),
    )
}
"""Averages over the eleven datasets with ViT-B/16, by the name of the protocol and the shots.

They are a method, then base, new and harmonic mean in percent.
"""


class SweepRow(NamedTuple):
    """A row of the leaderboard of a study of a sweep."""

    experiment: str
    series: str
    """The label, and the study's values on the sweep's axes but the dataset."""
    dataset: str
    row: Row
    parts: Sequence[str]
    """The names of the parts of its score."""
    targets: Sequence[str]
    """The further datasets that the study tests."""
    published: Sequence[tuple[str, float | None, float | None, float]]
    """The averages of `PUBLISHED_AVERAGES` in its setting; empty if there are none."""


def read_sweep(folders: Sequence[Path]) -> list[SweepRow]:
    """Read the studies of a sweep, sorted by experiment; pass over studies of no sweep.

    Raises:
        DataError: none of the folders is a study of a sweep.
    """
    placements = {folder: StudyFolder(folder).read_json(SWEEP_FILE) for folder in folders}
    if not any(placements.values()):
        raise DataError("no finished study of a sweep is among these folders")
    sweep = []
    for folder, placement in placements.items():
        if placement is None:
            continue
        result = read_study_result(folder)
        config, names = result.config, result.score_names
        published = PUBLISHED_AVERAGES.get(f"{config.protocol} {config.data.shots}", ())
        axes = [
            f"{name.split('.')[-1]} {value}"
            for name, value in placement["axes"].items()
            if name != "data.dataset"
        ]
        for row in result.rows:
            series, dataset = ", ".join([row.label, *axes]), config.data.dataset
            place = placement["experiment"], series, dataset
            sweep.append(SweepRow(*place, row, names.parts, names.datasets, published))
    return sorted(sweep, key=lambda one: one.experiment)
