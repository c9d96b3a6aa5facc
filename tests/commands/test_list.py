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
    (here / "runs" / "images").mkdir()
    Written(here / "runs", "lost").folder.config_path.unlink()
    broken = Written(here / "runs", "broken").folder
    broken.trial("search-0001").create({})
    (broken.path / "trials/search-0001/config.json").write_text("{")
    damaged, lost, found = json.loads(run("list", "--json").out)
    assert {*damaged} == {*lost} == {*found}
    assert (lost["study"], lost["state"]) == ("lost", "damaged")
    assert (damaged["study"], damaged["state"], damaged["trials"]) == ("broken", "damaged", 1)
    assert (found["study"], found["state"], found["trials"]) == ("mine", "interrupted", 2)
    assert found["val_score"] == pytest.approx(0.13)
    assert found["study_id"] == mine.read_identity()["study_id"]
    said = run("list", "storage=runs").out
    assert "3 studies in runs" in said
    assert re.search(r"mine +interrupted +2 +13.0 +– +–", said)


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
