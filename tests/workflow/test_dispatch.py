"""What the command run does with its options."""

import json
from pathlib import Path

import pytest
from written_study import Written

from study.commands import main
from study.storage.study_folder import CANDIDATES, REGISTERED, Registration, StudyFolder


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


def test_a_study_that_cannot_go_on_is_not_extended(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = Written(here / "runs", "done")
    written.folder.write_json(CANDIDATES, [])
    written.folder.write_json(REGISTERED, Registration("letters", "3", True, "first"))
    written.conclude()
    before = {path: path.read_bytes() for path in written.folder.path.iterdir() if path.is_file()}
    away = "tracking.uri=sqlite:///away/mlflow.db"
    assert main(["extend", "done", "search.trials=+2", away]) == 2
    assert "away" in capsys.readouterr().err
    (written.folder.path / ".lock").unlink()
    assert {p: p.read_bytes() for p in written.folder.path.iterdir() if p.is_file()} == before


def test_a_check_tells_what_is_there_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], mlflow_store: str
) -> None:
    arguments = ["quickstart", "--check", "data.shots=2", f"tracking.uri={mlflow_store}"]
    before = sorted(here.rglob("*"))
    assert main([*arguments, "--images"]) == 0
    out = capsys.readouterr().out
    for line in ("10 of digits: digit zero", "images were decoded", "all is well"):
        assert line in out
    assert "search.minutes" not in out
    assert main([*arguments, "--estimate"]) == 0
    out = capsys.readouterr().out
    assert "a sample of 64 images was decoded" in out
    assert "for the search" in out
    assert sorted(here.rglob("*")) == before
