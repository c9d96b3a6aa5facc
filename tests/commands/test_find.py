"""Studies and models are found by the names that a command line gives them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.commands.find import find_study
from study.errors import ConfigError
from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run


def test_a_study_is_named_by_its_name_or_by_a_path(
    mine: StudyFolder, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(here))
    for name in ("mine", "runs/mine", "./runs/mine/", str(mine.path), "~/runs/mine"):
        assert find_study(name).path.samefile(mine.path), name
    assert find_study("mine", "~/runs").path.samefile(mine.path)
    assert run("list", "storage=~/runs").code == 0
    monkeypatch.chdir(mine.path)
    assert find_study(".").name == "mine"
    with pytest.raises(ConfigError, match=r"no study 'mine' in runs; there are none"):
        find_study("mine")
    monkeypatch.setenv("STUDY_STORAGE", str(here / "runs"))
    assert find_study("mine").name == "mine"


@pytest.mark.parametrize("command", ["leaderboard", "report", "status", "sync"])
def test_a_study_that_is_not_there_is_named_with_the_one_that_is_meant(
    mine: StudyFolder, refused: Callable[..., str], command: str
):
    told = "error: no study 'mime' in runs (did you mean 'mine'?); studies there: 'mine'"
    assert refused(command, "mime").startswith(told)


@pytest.mark.parametrize(
    "words",
    [
        *(["status"], ["resume"], ["resume", "--check"], ["sync"], ["report"], ["leaderboard"]),
        *(["extend", "search.trials=+9"], ["export", "--format", "hf", "--out", "x"]),
        ["predict", "photos"],
    ],
    ids=" ".join,
)
def test_a_project_with_a_configuration_is_no_study(
    here: Path, refused: Callable[..., str], words: list[str]
):
    (here / "study.yaml").write_text("name: pets\n")  # as `init` writes it
    (here / "photos").mkdir()
    command, *others = words
    assert "no study '.'" in refused(command, ".", *others)
    assert {path.name for path in here.iterdir()} == {"study.yaml", "photos"}


@pytest.mark.parametrize("words", [["status", "mine"], ["list"]], ids=" ".join)
def test_a_storage_that_is_a_file_is_refused(
    here: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
):
    (here / "file").touch()
    assert "storage=file is no folder" in refused(*words, "storage=file")
    monkeypatch.setenv("STUDY_STORAGE", "file")
    assert "storage=file is no folder" in refused(*words)


def test_a_folder_that_is_no_study_is_named(tmp_path: Path, refused: Callable[..., str]):
    assert str(tmp_path) in refused("leaderboard", tmp_path)


def test_a_model_is_looked_for_before_images_are(
    mine: StudyFolder, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("study.commands.labels.find_images", lambda _: pytest.fail("looked"))
    told = refused("predict", "nosuch", "images", "storage=runs")
    assert "no study 'nosuch' in runs; studies there: 'mine'" in told
    assert "A model is a study, a registered model" in told
