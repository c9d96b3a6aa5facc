"""The measurement of a GPU: which libraries it needs, what it reads, and that it ends in time."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from study.data.datasets import load_dataset
from study.data.images.decode import ImageCache, decode_images
from study.data.images.table import ImageTable, cache_fault
from tests.environments import outside, with_only

HERE = Path(__file__).parent
NEEDED = ("torch", "transformers", "numpy", "pyarrow", "pydantic", "safetensors", "scikit-learn")
ROWS = """
import os, time

def measure(row, device, small):
    if row == "raises":
        raise ValueError("a first line\\nand a second one")
    if row == "dies":
        os._exit(3)
    if row == "hangs":
        time.sleep(600)
    return {"row": row}

def cells(numbers):
    return [numbers["row"]]
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Rows that fail in several ways, as a module that a new process can import."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_rows.py").write_text(ROWS)
    return importlib.import_module("failing_rows")


def section(module: ModuleType, *rows: str) -> Any:
    sections = importlib.import_module("gpu_sections")
    return sections.Section("rows", "Rows", ("found",), rows, module.measure, module.cells, 0.0)


def test_what_fails_is_told_and_the_rest_is_measured(module: ModuleType) -> None:
    sections = importlib.import_module("gpu_sections")
    rows = section(module, "good", "raises", "dies", "better")
    found = sections.measured(rows, "cpu", small=True, end=time.monotonic() + 600)
    assert found.numbers == {row: {"row": row} for row in ("good", "better")}
    assert found.faults["raises"] == "ValueError: a first line"
    assert found.faults["dies"] == "its process ended with exit code 3"
    assert found.left_out == []
    told = found.markdown()
    for words in ("| good | good |", "| better | better |", "dies failed: its process"):
        assert words in told


def test_what_takes_too_long_is_left_out_and_named(module: ModuleType) -> None:
    sections = importlib.import_module("gpu_sections")
    rows = section(module, "hangs", "last")
    found = sections.measured(rows, "cpu", small=True, end=time.monotonic() + 2)
    assert found.left_out == ["hangs", "last"]
    assert "Left out for time: hangs; last." in found.markdown()


def test_its_digits_are_those_of_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(HERE)
    trial = importlib.import_module("gpu_trial")
    ours, pixels = trial.read_digits()
    theirs = load_dataset("digits")
    for part in ("class_names", "templates", "train", "val", "test"):
        assert getattr(ours, part) == getattr(theirs, part)
    file = trial.write_table(tmp_path / "ours.arrow", pixels, 32)
    assert cache_fault(file, [*pixels]) is None, "the hash is that of the pixels"
    paths = [record.path for record in theirs.test[:60]]
    decoded = decode_images(theirs.source, paths, ImageCache(tmp_path, "theirs", size=32))
    some, others = (ImageTable(one).pixels(paths).numpy() for one in (file, decoded))
    assert np.abs(some.astype(int) - others).max() <= 1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_it_needs_few_libraries(tmp_path: Path) -> None:
    python = str(with_only(tmp_path, NEEDED) / "python")
    for name in ("ray", "mlflow", "optuna", "torchvision", "PIL"):
        code = f"import sys\ntry:\n import {name}\nexcept ImportError:\n sys.exit(7)"
        tried = subprocess.run([python, "-c", code], env=outside(), check=False)
        assert tried.returncode == 7, f"{name} is there"
    command = [python, str(HERE / "run.py"), "gpu", "--quick", "--out", str(tmp_path / "gpu")]
    done = subprocess.run(
        command, cwd=tmp_path, env=outside(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    written = (tmp_path / "gpu" / "gpu.md").read_text()
    found = json.loads((tmp_path / "gpu" / "gpu.json").read_text())
    assert "nothing here is a measurement" in written
    assert "ray" not in found["machine"]
    assert [*found["sections"]] == ["speed", "shared", "encoders", "gradients", "trial"]
    for name, section in found["sections"].items():
        assert section["title"] in written
        assert section["title"] in done.stdout
        assert section["rows"], f"{name} has no row"
        assert not section["left_out"], f"{name} took too long"
        failed = {row for row in section["failed"] if not row.startswith("CUDA graphs")}
        assert not failed, section["failed"]
    assert found["sections"]["encoders"]["rows"].keys() == {
        "torch.compile, held",
        "torch.compile, float32",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would measure the GPU")
def test_without_a_gpu_nothing_is_measured_and_nothing_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "run.py"), "gpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "no GPU: unmeasured" in done.stdout
    assert not [*tmp_path.iterdir()]
