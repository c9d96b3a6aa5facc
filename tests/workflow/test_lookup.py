"""Studies and models are found by the names that a command line gives them."""

from pathlib import Path

import pytest

from study.commands import main
from study.errors import ConfigError
from study.storage.study_folder import StudyFolder
from study.workflow.lookup import find_study


def test_a_study_is_named_by_its_name_or_by_a_path(
    mine: StudyFolder, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "runs/mine", "./runs/mine/", str(mine.path)):
        assert find_study(name).path.samefile(mine.path), name
    assert find_study("mine", here / "runs").path == mine.path
    monkeypatch.chdir(mine.path)
    assert find_study(".").name == "mine"
    with pytest.raises(ConfigError, match=r"no study 'mine' in runs; there are none"):
        find_study("mine")
    monkeypatch.setenv("STUDY_STORAGE", str(here / "runs"))
    assert find_study("mine").name == "mine"


def test_a_mistyped_study_is_told_with_the_one_that_is_meant(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "mime"]) == 2
    assert (
        "no study 'mime' in runs; did you mean 'mine'? studies there: 'mine'"
        in capsys.readouterr().err
    )


def test_a_storage_may_be_below_the_home_folder(
    mine: StudyFolder, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert find_study("mine", "~/runs").path.samefile(mine.path)
    assert find_study("~/runs/mine").path.samefile(mine.path)
    for words in (["list", "storage=~/runs"], ["status", "mine", "storage=~/runs"]):
        assert main(words) == 0


@pytest.mark.parametrize(
    "command",
    ["drift", "leaderboard", "report", "status", "sync", "delete"],
)
def test_a_study_that_is_not_there_is_named_with_those_that_are(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "nothing", f"storage={few_shot_study.parent}"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no study 'nothing' in ")
    assert f"there: '{few_shot_study.name}' (" in said.err


def test_a_folder_that_is_no_study_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
