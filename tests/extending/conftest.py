"""What a third party starts from: a small configuration, and a copy of the package to edit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import study
from study.config.loading import build_config
from study.config.schema import StudyConfig

PACKAGE = Path(study.__file__ or "").parent
Small = Callable[..., StudyConfig]
Edited = Callable[..., str]


@pytest.fixture
def small(tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Make the configuration of a study that takes seconds; values go over its sections."""
    monkeypatch.chdir(tmp_path)

    def make(**values: Any) -> StudyConfig:
        search = {"trials": 8, "selection": "holdout", "asha": None, **values.pop("search", {})}
        data = {"shots": 2, "augment": False, **values.pop("data", {})}
        fixed = {
            "name": "mine",
            "storage": str(tmp_path / "runs"),
            "backbone": {"name": str(tiny_backbone)},
            "training": {"epochs": 1, "batch_size": 8},
            "confirm": {"seeds": [1, 2], "runners_up": 0},
            "resources": {"max_concurrent": 1},
        }
        return build_config({**fixed, "data": data, "search": search, **values}, "mine")

    return make


@pytest.fixture
def edited(tmp_path: Path, tiny_backbone: Path) -> Edited:
    """Run a study with a copy of the package in which one row stands before a line of a table.

    Further rows may stand in other modules: each is a module, a line of it, and the row. A module
    of one's own is a path and what it contains.
    """

    def run(
        module: str,
        before: str,
        row: str,
        *arguments: str,
        more: Iterable[tuple[str, ...]] = (),
        own: tuple[str, str] | None = None,
    ) -> str:
        shutil.copytree(PACKAGE, tmp_path / "study")
        for name, line, added in ((module, before, row), *more):
            path = tmp_path / "study" / name
            contents = path.read_text(encoding="utf-8")
            assert contents.count(line) == 1
            path.write_text(contents.replace(line, f"{added}\n{line}"), encoding="utf-8")
        if own is not None:
            (tmp_path / "study" / own[0]).write_text(own[1], encoding="utf-8")
        shutil.copytree(PACKAGE.parent / "configs", tmp_path / "configs")
        small = [
            *("name=mine", f"backbone.name={tiny_backbone}", "data.shots=2", "training.epochs=1"),
            *("training.batch_size=8", "confirm.seeds=[1,2]", "search.trials=0"),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "study", "quickstart", *small, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
