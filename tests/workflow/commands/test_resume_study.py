"""The command ``resume``."""

from pathlib import Path

import pytest

from study.commands import main
from study.storage.study_folder import StudyFolder


def test_a_check_of_a_study_that_was_begun_leaves_it_as_it_is(
    mine: StudyFolder, here: Path, capsys: pytest.CaptureFixture[str], mlflow_store: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert main(["resume", "mine", "--check", f"tracking.uri={mlflow_store}"]) == 0
    assert "all is well" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert {path for path in after if path.is_file()} == {path for path in before if path.is_file()}


def test_another_configuration_beside_the_name_is_refused(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", "mine", "quickstart"]) == 2
    assert "one configuration at most, got quickstart" in capsys.readouterr().err


def test_what_a_study_may_not_change_is_named_with_its_override(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", "mine", "seed=2"]) == 2
    assert "seed: is frozen as" in capsys.readouterr().err
