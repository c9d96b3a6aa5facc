"""The studies of a sweep are read with their places in it."""

import json
from pathlib import Path

import pytest

from study.errors import DataError
from study.results.sweep_scores import read_sweep


def placed(folder: Path, dataset: str, experiment: str = "base_to_new") -> Path:
    """Give a study its place in a sweep."""
    place = {"experiment": experiment, "axes": {"data.dataset": dataset, "data.shots": 16}}
    (folder / "sweep.json").write_text(json.dumps(place))
    config = (folder / "study.yaml").read_text()
    lines = [f"  dataset: {dataset}" if "  dataset:" in li else li for li in config.splitlines()]
    text = "\n".join(lines).replace("shots: 4\n", "shots: 16\n")
    (folder / "study.yaml").write_text(text + "\n")
    return folder


def test_studies_outside_a_sweep_are_told(few_shot_study: Path):
    with pytest.raises(DataError, match="no finished study of a sweep"):
        read_sweep([few_shot_study])
