"""The command ``run``: a study or a sweep, and the check of each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Run


def test_a_configuration_begins_a_study_and_one_with_axes_a_sweep(
    here: Path, run: Run, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    begun: list[Any] = []
    monkeypatch.setattr("study.commands.sweep.run_sweep", begun.extend)
    monkeypatch.setattr(
        "study.commands.execution.run_study",
        lambda study, console, *, resume: begun.append((study.folder.path, resume)),
    )
    assert run("run", "quickstart", "name=mine").code == 0
    assert begun == [(Path("runs/mine"), False)]
    (here / "grid.yaml").write_text("sweep: {seed: [1, 2]}\n")
    assert run("grid.yaml", "name=my").code == 0
    assert [member.config.seed for member in begun[1:]] == [1, 2]
    assert "are of one study" in refused("grid.yaml", "--check", "--estimate")
