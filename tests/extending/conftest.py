"""What a third party starts from: a small configuration, and a copy of the package to edit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import study
from study.commands.execution import run_study
from study.config.loading import build_config
from study.storage.study_folder import StudyFolder
from study.trial.study import Study

PACKAGE = Path(study.__file__ or "").parent
Small = Callable[..., StudyFolder]
Edited = Callable[..., str]
RunPython = Callable[..., str]


@pytest.fixture
def small(tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Run a study that takes seconds; sections are in place of those of its configuration."""
    monkeypatch.chdir(tmp_path)

    def run(search: Mapping[str, Any], **sections: Any) -> StudyFolder:
        values = {
            "name": "mine",
            "storage": str(tmp_path / "runs"),
            "backbone": {"name": str(tiny_backbone)},
            "data": {"shots": 2, "augment": False},
            "training": {"epochs": 1, "batch_size": 8},
            "search": {"trials": 8, "selection": "holdout", "asha": None, **search},
            "test": {"seeds": [1, 2], "runners_up": 0},
            "final": {"images": "shots"},
            "resources": {"max_concurrent": 1},
            **sections,
        }
        folder = StudyFolder(tmp_path / "runs" / "mine")
        own = Study(build_config(values, "mine"), folder)
        run_study(own, Console(quiet=True), resume=False, in_process=True)
        return folder

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a package that has an entry point of a group."""

    def install(group: str, entry: str) -> None:
        package = tmp_path / "packages" / "mine-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text(f"[clipfit_study.{group}]\n{entry}\n")
        monkeypatch.syspath_prepend(str(package.parent))

    return install


@pytest.fixture
def python(tmp_path: Path) -> RunPython:
    """Run Python with the copy of the package, and return what it prints."""

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def edited(tmp_path: Path, tiny_backbone: Path, python: RunPython) -> Edited:
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
            contents = path.read_text()
            assert contents.count(line) == 1
            path.write_text(contents.replace(line, f"{added}\n{line}"))
        if own is not None:
            (tmp_path / "study" / own[0]).write_text(own[1])
        shutil.copytree(PACKAGE.parent / "configs", tmp_path / "configs")
        small = [
            *("name=mine", f"backbone.name={tiny_backbone}", "data.shots=2", "training.epochs=1"),
            *("training.batch_size=8", "test.seeds=[1,2]", "search.trials=0"),
        ]
        return python("-m", "study", "quickstart", *small, *arguments)

    return run
