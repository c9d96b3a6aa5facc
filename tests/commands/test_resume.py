"""The command ``resume``."""

from pathlib import Path

from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run


def test_a_check_of_a_study_that_was_begun_leaves_it_as_it_is(
    mine: StudyFolder, here: Path, run: Run, mlflow_store: str
):
    before = [path for path in here.rglob("*") if path.is_file()]
    ran = run("resume", "mine", "--check", f"tracking.uri={mlflow_store}")
    assert (ran.code, "all is well" in ran.out) == (0, True)
    assert [path for path in here.rglob("*") if path.is_file()] == before
