"""The command ``run``: a study or a sweep, and the check of each."""

from pathlib import Path
from typing import Any

import pytest

from study.config.sweep import Member
from tests.commands.conftest import Run


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would run, which nothing does here."""
    begun: list[Any] = []
    monkeypatch.setattr("study.commands.sweep.run_sweep", begun.extend)
    monkeypatch.setattr(
        "study.commands.execution.run_study",
        lambda study, console, *, resume: begun.append((study.folder.path, resume)),
    )
    return begun


def test_a_configuration_begins_a_study_and_one_with_axes_a_sweep(
    here: Path, begun: list[Any], run: Run
):
    assert run("run", "quickstart", "name=mine").code == 0
    assert begun == [(Path("runs/mine"), False)]
    (here / "grid.yaml").write_text("sweep: {seed: [1, 2]}\n")
    assert run("grid.yaml", "name=my").code == 0
    members = [one for one in begun if isinstance(one, Member)]
    assert [member.config.seed for member in members] == [1, 2]
