"""A study in a notebook: opened, run as the page shows, and refused as by the command."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import study
from study.errors import ConfigError

PAGE = Path(study.__file__).parent / "library" / "README.md"


def test_a_study_is_opened_by_its_name(runs: Path, tmp_path: Path):
    opened = study.open_study("mine", storage=runs)
    assert opened.results.folder.path == opened.path == runs / "mine"
    (row,) = opened.leaderboard().itertuples()
    assert (row.label, row.winner, row.test_mean, row.seeds) == ("best", True, 0.75, 2)
    assert len(opened.predict([[[0, 255], [9, 8]]])) == 1
    opened.export("hf", tmp_path / "out")
    assert (tmp_path / "out" / "README.md").exists()
    with pytest.raises(ConfigError, match="seed cannot change"):
        opened.extend({"seed": 2})


def test_the_page_has_every_public_name():
    names = re.findall(r"(?m)^\| `study\.(\w+)", PAGE.read_text())
    assert sorted(names) == sorted([*dir(study), "run"])
    assert all(getattr(study, name) for name in names)


@pytest.mark.parametrize(
    "overrides, fault",
    [
        ({"search.trails": 3}, "search.trails: unknown key"),
        ({"search.trials": "many"}, "search.trials: "),
        ({"seed": Ellipsis}, "seed is Ellipsis, a ellipsis; allowed are text, numbers"),
    ],
)
def test_a_fault_is_that_of_the_command(overrides: dict[str, Any], fault: str, runs: Path):
    with pytest.raises(ConfigError, match=re.escape(fault)):
        study.run_study("quickstart", overrides, storage=runs)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    for block in re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text()):
        exec(block, variables)
    assert variables["board"].winner.sum() == 1
    assert [*variables["labels"].index] == sorted(variables["frame"].path)
    assert isinstance(variables["labels"], pd.DataFrame)
