"""A real trial from end to end: the embedded checkpoint on handwritten digits."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.embedded import EMBEDDED, backbone_path
from study.method.precision import cast_matrices
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.benchmarks.measuring import table
from tests.benchmarks.step.random_clip import PRECISIONS
from tests.settings import clipfit_trial

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
SETTINGS = {"bias_lr": 0.1, "ln_lr": 0.1, "distill_weight": 1.0}


def trial_table(device: str, small: bool) -> str:
    """Run a trial of the search and one of the test with loaded models, and return the table.

    The folds of a trial are trained one after another.
    """
    torch.set_num_threads(1)  # as a trial has one core
    rows = []
    for name, place in (("float32", device), ("held", device), ("float32", "cpu")):
        precision, is_held = PRECISIONS[name]
        backbone = load_backbone(backbone_path(EMBEDDED))
        if is_held:
            cast_matrices(backbone.clip, precision)
        backbone.clip.to(place)
        cells = []
        with tempfile.TemporaryDirectory() as storage:
            overrides = [f"storage={storage}", f"training.precision={precision}"]
            config = load_config(QUICKSTART, overrides)
            folder = StudyFolder(Path(storage) / "gpu")
            folder.path.mkdir()
            preparer = Preparer(Study(config, folder), backbone.image_size)
            epochs = 2 if small else config.training.epochs
            config_of_trial = clipfit_trial(**SETTINGS, epochs=epochs, training=config.training)
            for data in (preparer.search(), preparer.test(config.test.seeds[0])):
                began = time.perf_counter()
                *_, last = run_trial(config_of_trial, data, backbone)
                cells.append(f"{time.perf_counter() - began:.1f}")
                cells.append(f"{last.metrics[f'{data.split}_score']:.3f}")
        rows.append([f"{name} on {place}", *cells])
    title = "A trial of the first study: digits, the embedded checkpoint, CLIPFit"
    return table(title, ("", "search, s", "validation score", "test, s", "test score"), rows)
