"""The command ``status``."""

import json

import pytest

from study.commands import main
from study.storage.study_folder import StudyFolder


def test_status_as_json_has_every_trial_that_is_shown(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "mine", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["counts"] == {"search": {"finished": 1, "unfinished": 1}}
    assert [trial["trial_id"] for trial in status["running"]] == ["search-0002"]
    assert status["best"][0]["settings"]["subset"] == "vision.ln[0:2]"
    assert status["state"] == "interrupted"
    with mine.locked():
        assert main(["status", "mine"]) == 0
    said = capsys.readouterr().out
    assert "mine: running" in said
    assert "resume" not in said, "it runs"
