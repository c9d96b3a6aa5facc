"""The command ``list``."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run
from tests.written_study import Written


def test_the_list_has_state_scores_and_trials(mine: StudyFolder, here: Path, run: Run):
    assert mine.exists()
    (here / "runs" / "images").mkdir()
    Written(here / "runs", "lost").folder.config_path.unlink()
    broken = Written(here / "runs", "broken").folder
    broken.trial("search-0001").create({})
    (broken.path / "trials/search-0001/config.json").write_text("{")
    rows = [tuple(row.values()) for row in json.loads(run("list", "--json").out)]
    assert rows == [
        ("broken", "damaged", 1, None, None),
        ("lost", "damaged", 0, None, None),
        ("mine", "interrupted", 2, pytest.approx(0.13), None),
    ]
    assert re.search(r"mine +interrupted +2 +13.0 +–", run("list", "storage=runs").out)


@pytest.mark.parametrize("command", [["list"], ["status", "mine"]], ids=" ".join)
def test_the_command_that_continues_is_printed_for_what_is_interrupted_alone(
    mine: StudyFolder, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    storage = (here / "runs").rename(here / "a folder with [red]spaces and $HOME in its name")
    Written(storage, "done").conclude()
    monkeypatch.setenv("COLUMNS", "40")
    words = [*command, f"storage={storage}"]
    (line,) = re.findall(".*clipfit-study.*", run(*words).out)
    *program, place = shlex.split(line)
    assert program == ["clipfit-study", "resume"]
    assert Path(place).samefile(storage / "mine")
    with StudyFolder(storage / "mine").locked():
        assert "clipfit-study" not in run(*words).out


def test_a_storage_may_be_empty_and_one_that_is_named_must_be_there(
    here: Path, run: Run, refused: Callable[..., str]
):
    assert run("list").out == "no studies in runs\n"
    assert "storage=nowhere is no folder" in refused("list", "storage=nowhere")
    assert not any(here.iterdir())
