"""The scores of a sweep's studies, and published averages in the same setting."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from study.errors import DataError
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


def read_sweep(folders: Sequence[Path]) -> pd.DataFrame:
    """Read the studies of a sweep, sorted by experiment; pass over studies of no sweep.

    Returns:
        A row per configuration with its `entry`, the row of its leaderboard, and the name of its
        `series`: the label, and values on axes but the dataset. Both are None in the one row of a
        study without any score yet. In other columns each has the `experiment` that the study is a
        part of, its `dataset`, the `parts` of its scores, the further datasets or `targets` that it
        tests, and the `published` averages in its setting.

    Raises:
        DataError: none of the folders is a study of a sweep.
    """
    rows = []
    for folder in folders:
        placement = StudyFolder(folder).read_json(SWEEP_FILE)
        if placement is None:
            continue
        board = read_study_result(folder)
        config = board.config
        study = {
            "experiment": placement["experiment"],
            "dataset": config.data.dataset,
            "parts": board.score_names.parts,
            "targets": board.score_names.datasets,
            "published": PUBLISHED_AVERAGES.get(f"{config.protocol} {config.data.shots}", ()),
        }
        axes = [
            f"{name.split('.')[-1]} {value}"
            for name, value in placement["axes"].items()
            if name != "data.dataset"
        ]
        for entry in board.rows:
            rows.append(study | {"series": ", ".join([entry.label, *axes]), "entry": entry})
        if not board.rows:
            rows.append(study | {"series": None, "entry": None})
    if not rows:
        raise DataError("no finished study of a sweep is among these folders")
    return pd.DataFrame(rows).sort_values("experiment", kind="stable")
