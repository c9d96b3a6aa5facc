"""The stages of a study that run trials: whether they are needed, and what they say."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from study.commands import training_stages as module
from study.commands.run_study import run_study
from study.config.schema import StudyConfig
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.in_process import trials_in_process
from tests.written_study import Written

Configure = Callable[..., StudyConfig]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A study of eight trials, of which one has ended, that has made its choice."""
    written = Written(tmp_path, "mine")
    written.whole(1)
    best = {"label": "best", "settings": {"subset": "vision.ln"}, "training": "abc", "choice": 8}
    written.folder.write_json("candidates.json", [best])
    return written


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch, written: Written, console: Console) -> Any:
    """Search in a study with other settings; return what stands in for the search itself."""
    run_search = Mock()
    monkeypatch.setattr(module.steps, "run_search", run_search)

    def search(**settings: Any) -> Mock:
        changed = written.config.search.model_copy(update=settings)
        config = written.config.model_copy(update={"search": changed})
        module.run_search_stage(Study(config, written.folder), Mock(), Mock(), console, None)
        return run_search

    return search


def test_a_choice_that_is_made_needs_no_search_unless_one_of_its_trials_is_open(
    search: Callable[..., Mock], written: Written
):
    search().assert_not_called()
    written.trial(2)
    search().assert_called_once()


def test_a_search_that_its_time_cut_short_says_how_many_trials_it_had(
    search: Callable[..., Mock], written: Written, output: io.StringIO
):
    (written.folder.path / "candidates.json").unlink()
    search(minutes=5.0)
    told = "the search ended after its 5 minutes, with 1 of 48 trials"
    assert output.getvalue().splitlines()[-1] == told
    search()
    assert output.getvalue().count(told) == 1


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(300)
def test_an_ablation_names_the_rates_at_an_end_of_their_list_and_trains_nothing_twice(
    configure: Configure, console: Console, output: io.StringIO
):
    config = configure(
        search={"selection": "holdout"},
        training={"epochs": 1, "batch_size": 8},
        test={"seeds": [1, 2]},
        ablation={
            "design": "only_one",
            "sites": ["vision.ln2", "text.bias"],
            "rates": {"bias": [0.1], "ln": [1e-9, 2e-9]},
        },
    )
    folder = StudyFolder(config.storage / "mine")
    with trials_in_process():
        run_study(Study(config, folder), console, resume=False)
    said = output.getvalue()
    # So small rates change nothing: the first of two equal ones wins, and it is the lowest.
    told = (folder.path / "ablation.md").read_text()
    assert re.search(r"At the lowest of the learning rates tried.*“only vision.ln2”", told)
    assert "search   5/5 done" in said
    assert "ablation 6/6 done" in said
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("trials/*/*")}
    run_study(Study(config, folder), console, resume=True)
    assert {path: path.stat().st_mtime_ns for path in folder.path.glob("trials/*/*")} == before
