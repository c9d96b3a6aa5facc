"""A benchmark dataset of one's own: one row of the table of benchmarks."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROW = """\
    "satellites": Benchmark(
        Counts(4, 8, 4, 4),
        "draw them yourself",
        Layout("eurosat", "2750", "split_zhou_EuroSAT.json"),
        "a photo of {} from above.",
    ),"""


@pytest.mark.long
def test_a_study_is_of_it(edited: Any, miniature: ModuleType, tmp_path: Path):
    miniature.make("eurosat", tmp_path / "data", classes=4, counts=(2, 1, 1))
    own = ("data.dataset=satellites", "data.root=data")
    printed = edited("data/readers/benchmarks.py", '    "imagenetv2": Benchmark(', ROW, *own)
    assert "mine: few_shot on satellites" in printed
    assert "\n best " not in printed, "nothing was chosen"
