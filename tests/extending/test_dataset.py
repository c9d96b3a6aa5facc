"""A benchmark dataset of one's own: one row of the table of benchmarks."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROW = """    "leaves": Benchmark(
        Layout("leaves", "photos", "split_leaves.json"),
        Counts(4, 8, 4, 4),
        "draw them yourself",
        "a photo of a {}, a type of leaf.",
    ),"""
NAMES = ("oak", "elm", "ash", "fir")


def draw(root: Path) -> None:
    """Write the images and the split file, in the layout that the row names."""
    split: dict[str, list[list[Any]]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(NAMES):
        for number, part in enumerate(("train", "train", "val", "test")):
            path = root / "leaves" / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (60 * label, 20 * number, 90)).save(path)
            split[part].append([f"{name}/{number}.png", label, name])
    (root / "leaves" / "split_leaves.json").write_text(json.dumps(split))


@pytest.mark.long
def test_a_study_is_of_it(edited: Any, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    printed = edited(
        "data/readers/benchmarks.py",
        '    "imagenetv2": Benchmark(',
        ROW,
        "data.dataset=leaves",
        "data.root=data",
    )
    assert "mine: few_shot on leaves, 2 shots" in printed
    lines = (tmp_path / "runs" / "mine" / "shots").glob("tasks-*.jsonl")
    assert all('"class_names": ["oak", "elm", "ash", "fir"]' in f.read_text() for f in lines)
    assert "★" not in printed, "nothing was chosen"
