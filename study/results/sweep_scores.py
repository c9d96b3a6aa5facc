"""The scores of a sweep's studies, and published averages in the same setting."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from study.data.shots import ShotCount
from study.errors import DataError
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.storage.study_folder import StudyFolder

SWEEP_FILE = "sweep.json"
"""The file in a study's folder that names its experiment and its values on the sweep's axes."""
PUBLISHED_DATASETS = 11
"""The number of datasets that the published averages are over."""
PUBLISHED_AVERAGES: dict[
    tuple[str, ShotCount], tuple[tuple[str, float | None, float | None, float], ...]
] = {
    ("base_to_new", 16): (
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
PUBLISHED_CLIP = {
    "imagenet": (72.43, 68.14),
    "caltech101": (96.84, 94.00),
    "oxford_pets": (91.17, 97.26),
    "stanford_cars": (63.37, 74.89),
    "oxford_flowers": (72.08, 77.80),
    "food101": (90.10, 91.22),
    "fgvc_aircraft": (27.19, 36.29),
    "sun397": (69.36, 75.35),
    "dtd": (53.24, 59.90),
    "eurosat": (56.48, 64.05),
    "ucf101": (70.53, 77.50),
}
"""CLIP's published accuracy on base and new classes, in percent: zero-shot, ViT-B/16."""


def read_sweep(folders: Sequence[Path]) -> pd.DataFrame:
    """Read the studies of a sweep, sorted by experiment; pass over studies of no sweep.

    Returns:
        A row per candidate with its `entry` of the leaderboard, and the name of its `series`: the
        label, and values on axes but the dataset. Both are None in the one row of a study without
        any score yet. In other columns each has the `experiment` that the study is a part of, its
        `dataset`, the `parts` of its scores, and the `published` averages in its setting.

    Raises:
        DataError: none of the folders is a study of a sweep.
    """
    rows = []
    for folder in folders:
        placement = StudyFolder(folder).read_json(SWEEP_FILE)
        if placement is None:
            continue
        board = leaderboard(read_results(folder))
        config = board.config
        study = {
            "experiment": placement["experiment"],
            "dataset": config.data.dataset,
            "parts": board.parts,
            "published": PUBLISHED_AVERAGES.get((config.protocol, config.data.shots), ()),
        }
        axes = [
            f"{name.split('.')[-1]} {value}"
            for name, value in placement["axes"].items()
            if name != "data.dataset"
        ]
        for entry in board.entries:
            series = ", ".join([entry.label, *axes])
            rows.append(study | {"series": series, "entry": entry})
        if not board.entries:
            rows.append(study | {"series": None, "entry": None})
    if not rows:
        raise DataError("no finished study of a sweep is among these folders")
    return pd.DataFrame(rows).sort_values("experiment", kind="stable")
