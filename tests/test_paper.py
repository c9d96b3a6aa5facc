"""The studies of the paper run in miniature, each file from the check to its tables."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest

from study.commands import sweep
from study.commands.console import output_console
from study.commands.execution import run_study
from study.commands.main import main
from study.commands.new_study import make_study
from study.config.sweep import load_sweep
from study.config.yaml_values import read_values
from study.results.study_result import read_study_result
from tests.miniature import ELEVEN, SHIFTED, make

FILES = sorted((Path(__file__).parents[1] / "configs" / "paper").glob("*.yaml"))

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def count_baselines(values: dict[str, Any]) -> int:
    """Return how many baselines a file has; null leaves out what every study has."""
    entries = values.get("search", {}).get("baselines", {"zero-shot": {}})
    return sum(entry is not None for entry in entries.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All datasets; two classes of ImageNet and its shifts have one name."""
    root = tmp_path_factory.mktemp("data")
    for name in (*ELEVEN, *SHIFTED):
        make(name, root, classes=8, counts=(2, 1, 1))
    return root


@pytest.fixture
def small(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Overrides for one epoch of the embedded checkpoint; trials run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "run_study", partial(run_study, in_process=True))
    monkeypatch.setattr(sweep, "ray_session", lambda: nullcontext(Mock()))
    monkeypatch.setattr("study.config.methods.TwoStage.steps_per_shot", 1)
    there = [f"data.root={data}", "backbone.name=embedded", "tracking.tracker=none"]
    return [*there, "name=small", "resources.gpus_per_trial=0", "training.epochs=1"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_of_the_paper_gives_a_score_on_each_of_its_datasets(file: Path, small: list[str]):
    assert main(["run", f"paper/{file.stem}", *small, "--check"]) == 0
    values = read_values(file)
    if "sweep" not in values:
        run_study(make_study(file, small), output_console(), resume=False, in_process=True)
        board = read_study_result(Path("runs/small"))
        assert len(board.rows) == count_baselines(values)
        for entry in board.rows:
            assert {*values["data"]["targets"]} < entry.means.keys()
        return
    planned = load_sweep(file, small)
    sweep.run_sweep(planned)
    tables = pd.read_csv("runs/tables.csv")
    assert not tables.test.isna().any()
    alike = count_baselines(values) - len(tables) / len(planned)
    assert alike in (0, 2), "both halves of three layers are CLIPFit, and one row with it"
    assert {*tables.dataset} == {*values["sweep"]["data.dataset"]}
