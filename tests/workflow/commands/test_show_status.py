"""The command ``status``."""

import json

from study.storage.study_folder import StudyFolder
from tests.workflow.conftest import Run


def test_status_as_json_has_every_trial_that_is_shown(mine: StudyFolder, run: Run):
    status = json.loads(run("status", "mine", "--json").out)
    assert status["counts"] == {"search": {"finished": 1, "unfinished": 1}}
    assert [trial["trial_id"] for trial in status["running"]] == ["search-0002"]
    assert status["best"][0]["settings"]["subset"] == "vision.ln[0:2]"
    assert status["state"] == "interrupted"


def test_how_to_go_on_is_not_told_of_a_study_that_runs(mine: StudyFolder, run: Run):
    with mine.locked():
        said = run("status", "mine").out
    assert "mine: running" in said
    assert "resume" not in said
