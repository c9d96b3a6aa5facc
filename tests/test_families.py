"""Whole studies on the other families: a SigLIP 2 of the small kind, and an OpenCLIP checkpoint."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from study.config.loading import load_config
from study.config.search_section import SITES_OF
from study.method.delta import load_delta
from study.storage.study_folder import StudyFolder
from tests.openclips import write_open_clip
from tests.siglips import make_gemma, save_siglip

SMALL = (
    *("name=mine", "data.shots=2", "data.augment=false", "training.epochs=2"),
    *("training.batch_size=8", "search.trials=8", "search.asha=null", "test.seeds=[1,2]"),
    "test.runners_up=0",
)
PREDICT = """
import json, mlflow
import numpy as np
model = mlflow.pyfunc.load_model("models:/clipfit-digits/1")
images = list(np.random.default_rng(0).integers(0, 255, (3, 8, 8), dtype=np.uint8))
found = model.predict(images)
print(json.dumps([sum(p.values()) for p in found["probabilities"]]))
"""
FAMILIES: dict[str, Callable[[Path], object]] = {
    "siglip": lambda folder: save_siglip(folder, side=32, tokenizer=make_gemma(64)),
    "clip": lambda folder: write_open_clip(folder, {"quick_gelu": True}),
}


def python(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_study_runs_from_its_check_to_a_registered_model(family: str, tmp_path: Path):
    FAMILIES[family](tmp_path / "checkpoint")
    words = ("-m", "study", "run", "quickstart", *SMALL, f"backbone.name={tmp_path}/checkpoint")
    checked = " ".join(python(tmp_path, *words, "--check").split())
    assert "2 layers for text, 3 for images of 32 × 32 pixels" in checked
    assert "preprocessor_config.json" not in checked
    assert "models:/clipfit-digits" in python(tmp_path, *words)
    folder = StudyFolder(tmp_path / "runs" / "mine")
    assert folder.is_complete()
    config = load_config(folder.config_path, frozen=True)
    assert config.search.space.sites == SITES_OF[family]
    deltas = map(load_delta, folder.path.glob("trials/*/delta.safetensors"))
    tuned = {name for tensors, _ in deltas for name in tensors}
    assert any(name.startswith("vision_model.head.") for name in tuned) == (family == "siglip")
    sums = json.loads(python(tmp_path, "-c", PREDICT).splitlines()[-1])
    assert np.allclose(sums, 1.0)
