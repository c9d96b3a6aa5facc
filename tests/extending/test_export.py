"""A further format of exports is a function and a row of the table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.commands.main import main
from study.serving.classifier import TunedClassifier
from study.serving.exports import FORMATS
from study.serving.exports.format import ExportGuide, Format
from study.serving.saved_model import SavedModel


def write(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write the class vectors as a NumPy array."""
    np.save(folder / "classes.npy", model.class_features.numpy())
    return ExportGuide('import numpy\n\nnumpy.load("classes.npy")\n', ("One row a class.",))


def test_a_format_of_ones_own_is_exported(
    finish: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    npy = Format("an array", "numpy", write, task="feature-extraction")
    monkeypatch.setitem(FORMATS, "npy", npy)
    study, out = finish(tmp_path, "mine"), tmp_path / "out"
    assert main(["export", str(study.folder.path), "--format", "npy", "--out", str(out)]) == 0
    assert "One row a class." in capsys.readouterr().out
    assert len(np.load(out / "classes.npy")) == 10
    card = (out / "README.md").read_text()
    assert 'library_name: "numpy"' in card
    assert "This is an array with the final model of study 'mine'" in card
