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


def test_a_model_is_looked_for_before_images_are(
    mine: StudyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("study.workflow.predict.find_images", lambda _: pytest.fail("looked"))
    assert main(["predict", "nosuch", "images", "storage=runs"]) == 2
    told = capsys.readouterr().err
    assert "no study 'nosuch' in runs; studies there: 'mine'" in told
    assert "A model is a study, a registered model" in told


def test_a_storage_may_be_below_the_home_folder(
    mine: StudyFolder, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert find_study("mine", "~/runs").path.samefile(mine.path)
    assert find_study("~/runs/mine").path.samefile(mine.path)
    for words in (["list", "storage=~/runs"], ["status", "mine", "storage=~/runs"]):
        assert main(words) == 0
