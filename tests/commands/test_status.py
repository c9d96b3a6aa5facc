"""The command ``status``."""

from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run


def test_how_to_go_on_is_not_told_of_a_study_that_runs(mine: StudyFolder, run: Run):
    with mine.locked():
        said = run("status", "mine").out
    assert "mine: running" in said
    assert "resume" not in said
