"""A site of one's own, here the matrix after each MLP's activation: one row of the table."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.settings import NONE

ROW = """    Site(
        *("mlp.fc2", "mlp.fc2", "mlp", ("weight",), Kind("weight", "weight", "weights")),
        shape=("width", "mlp_width"),
    ),"""


@pytest.mark.long
def test_a_study_tunes_it(edited: Any, tmp_path: Path):
    mine = {
        "subset": "vision.mlp.fc2.weight[-1] + vision.ln",
        "rates": {"weight": 0.01, "ln": 0.1},
    }
    before = '    Site("ln1", '
    baselines = json.dumps({**NONE, "mine": mine})
    edited("method/parameters.py", before, ROW, f"search.baselines={baselines}")
    deltas = sorted((tmp_path / "runs" / "mine" / "trials").glob("*/delta.safetensors"))
    assert len(deltas) == 2
    assert "vision_model.encoder.layers.2.mlp.fc2.weight" in load_file(deltas[0])
