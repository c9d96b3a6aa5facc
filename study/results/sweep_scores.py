"""The scores of a sweep's studies, and published averages in the same setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from study.errors import DataError
from study.results.rows import Row, ScoreNames
from study.results.study_result import read_study_result
from study.storage.study_folder import StudyFolder

SWEEP_FILE = "sweep.json"
"""The file in a study's folder that names its experiment and its values on the sweep's axes."""
PUBLISHED_DATASETS = 11
"""The number of datasets that the published averages are over."""


class PublishedAverage(NamedTuple):
    """A method's averages over the eleven datasets with ViT-B/16, in percent."""

    method: str
    base: float | None
    new: float | None
    hmean: float
    source: str
    """The paper that has these averages, which need not be the method's own."""


PUBLISHED_AVERAGES = (
    PublishedAverage("CLIP", 69.34, 74.22, 71.70, "arXiv 2203.05557"),
    PublishedAverage("CoOp", 82.69, 63.22, 71.66, "arXiv 2203.05557"),
    PublishedAverage("CoCoOp", 80.47, 71.69, 75.83, "arXiv 2203.05557"),
    PublishedAverage("KgCoOp", 80.73, 73.60, 77.00, "arXiv 2303.13283"),
    PublishedAverage("CLIP-LoRA", None, None, 77.28, "arXiv 2503.11609"),
    PublishedAverage("MaPLe", 82.28, 75.14, 78.55, "arXiv 2210.03117"),
    PublishedAverage("CLIPFit", None, None, 78.97, "arXiv 2409.16718"),
    PublishedAverage("CLIP-LoRA", 84.10, 74.80, 79.18, "arXiv 2509.03740"),
    PublishedAverage("MMA", 83.20, 76.80, 79.87, "Yang et al., CVPR 2024"),
    PublishedAverage("PromptSRC", 84.26, 76.10, 79.97, "arXiv 2307.06948"),
    PublishedAverage("2SFS", 85.55, 75.48, 80.20, "arXiv 2503.11609"),
    PublishedAverage("MMRL", 85.68, 77.16, 81.20, "arXiv 2503.08497"),
    PublishedAverage("LLaMP", 85.16, 77.71, 81.27, "arXiv 2312.04076"),
    PublishedAverage(
        "PromptKD, with unlabelled images and a ViT-L/14 teacher",
        86.96,
        80.73,
        83.73,
        "arXiv 2403.02781",
    ),
)
"""The averages from base to new with 16 shots, in the order of their harmonic means."""


class SweepRow(NamedTuple):
    """A row of the leaderboard of a study of a sweep."""

    experiment: str
    series: str
    """The label, and the study's values on the sweep's axes but the dataset."""
    dataset: str
    row: Row
    names: ScoreNames
    """The names of the study's scores."""
    is_published: bool
    """Whether its protocol and shots are those of `PUBLISHED_AVERAGES`."""


def read_sweep(folders: Sequence[Path]) -> list[SweepRow]:
    """Read the studies of a sweep, sorted by experiment; pass over studies of no sweep.

    Raises:
        DataError: none of the folders is a study of a sweep.
    """
    placements = {folder: StudyFolder(folder).read_json(SWEEP_FILE) for folder in folders}
    if not any(placements.values()):
        raise DataError("none of these folders contains a finished study of a sweep")
    sweep = []
    for folder, placement in placements.items():
        if placement is None:
            continue
        result = read_study_result(folder)
        config = result.config
        is_published = (config.protocol, config.data.shots) == ("base_to_new", 16)
        axes = [
            f"{name.split('.')[-1]} {value}"
            for name, value in placement["axes"].items()
            if name != "data.dataset"
        ]
        for row in result.rows:
            series, dataset = ", ".join([row.label, *axes]), config.data.dataset
            place = placement["experiment"], series, dataset
            sweep.append(SweepRow(*place, row, result.score_names, is_published))
    return sorted(sweep, key=lambda one: one.experiment)
