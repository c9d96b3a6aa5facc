"""A key of how a study trains, here the smoothing of labels: a field of the recipe, a key, its use.

That it counts in the hash of a trial is tested beside that.
"""

import json
from math import log
from pathlib import Path
from typing import Any

import pytest

FIELD = "    label_smoothing: float = 0"
KEY = """    label_smoothing: float = Field(0, ge=0, le=1)
    \"\"\"The share of each label that is spread over all classes.\"\"\""""
BEFORE = '    regularizer: Regularizer = "cosine"'
SMOOTHING = "label_smoothing=self.recipe.label_smoothing"
ROWS = (
    ("config/schema.py", BEFORE, KEY),
    (
        "method/training.py",
        "        match self.recipe.regularizer:",
        f"        cross_entropy = F.cross_entropy(logits, labels, {SMOOTHING})",
    ),
)


@pytest.mark.long
def test_it_reaches_the_step(edited: Any, tmp_path: Path):
    edited("method/training.py", BEFORE, FIELD, "training.label_smoothing=1", more=ROWS)
    folder = tmp_path / "runs" / "mine"
    candidates = json.loads((folder / "candidates.json").read_text())
    (clipfit,) = (one for one in candidates if one["label"] == "clipfit")
    trial = folder / "trials" / f"test-{clipfit['training']}-seed1"
    assert json.loads((trial / "config.json").read_text())["training"]["label_smoothing"] == 1
    (report,) = map(json.loads, (trial / "reports.jsonl").read_text().splitlines())
    assert report["cross_entropy"] > log(10), "no prediction of ten classes does better"
