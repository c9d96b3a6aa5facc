"""A benchmark dataset of one's own: one row of the table of benchmarks."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROW = """
[satellites]
counts = { classes = 4, train = 8, val = 4, test = 4 }
how_to_get = "draw them yourself"
template = "a photo of {} from above."
layout = { folder = "eurosat", images = "2750", split = "split_zhou_EuroSAT.json" }
"""


@pytest.mark.long
def test_a_study_is_of_it(edited: Any, miniature: ModuleType, tmp_path: Path):
    miniature.make("eurosat", tmp_path / "data", classes=4, counts=(2, 1, 1))
    own = ("data.dataset=satellites", "data.root=data")
    printed = edited("data/readers/benchmarks.toml", "[imagenetv2]", ROW, *own)
    assert "mine: few_shot on satellites, 2 shots" in printed
    assert "\n winner " not in printed, "nothing was chosen"
