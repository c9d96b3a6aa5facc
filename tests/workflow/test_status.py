"""How far a study is, told from its folder alone."""

import json
import os
import time
from pathlib import Path

import pytest

from study.analysis.results import read_results
from study.config.loading import build_config, dump_config
from study.run import main
from study.storage.ledger import End, StudyFolder
from study.trial import TrialConfig
from study.workflow.status import Status, study_status

CONFIG = build_config({"name": "mine", "search": {"trials": 12}}, "test")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(CONFIG), {})
    return folder


def add(folder: StudyFolder, number: int, reports: int, status: str | None, **told: str) -> None:
    config = TrialConfig.model_validate(
        {
            "trial_id": f"search-{number:04d}",
            "stage": "search",
            "arm": "search",
            "label": f"trial {number}",
            "number": number,
            "seed": 1,
            "subset": "vision.ln",
            "subset_key": "0",
            "trainable": 100,
            "ln_lr": 0.1,
            "epochs": 4,
            "split_hash": "0",
        }
    )
    trial = folder.trial(config.trial_id)
    trial.create(config.model_dump(mode="json"))
    for epoch in range(1, reports + 1):
        trial.append_report({"epoch": epoch, "val_score": number / 10})
    if status is not None:
        trial.write_end(End(status, reports, 1.0, **told))  # type: ignore[arg-type]


def read(folder: StudyFolder) -> Status:
    return study_status(read_results(folder.path))


def test_done_running_and_best_are_told(folder: StudyFolder) -> None:
    add(folder, 1, 4, "finished")
    add(folder, 2, 4, "finished")
    add(folder, 3, 3, "stopped")
    add(folder, 4, 2, None)
    status = read(folder)
    assert status.counts == {"search": {"finished": 2, "stopped": 1, "unfinished": 1}}
    assert [(r.trial_id, r.epochs, r.epochs_planned) for r in status.running] == [
        ("search-0004", 2, 4)
    ]
    assert [trial.number for trial in status.best] == [2, 1]
    assert status.state == "searching"


def test_the_command_says_so_from_another_folder(
    folder: StudyFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(folder, 1, 4, "finished")
    add(folder, 2, 1, None)
    monkeypatch.setenv("STUDY_STORAGE", str(tmp_path))
    monkeypatch.chdir("/")
    assert main(["--status", "mine"]) == 0
    said = capsys.readouterr().out
    assert "search: 2 of 12 trials: 1 finished, 1 unfinished" in said
    assert "mine: searches" in said
    assert "search-0001" in said
    assert "10.00" in said


def test_a_study_that_fell_silent_is_not_said_to_run(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    add(folder, 1, 2, None)
    long_ago = time.time() - 3600
    for name in ("config.json", "reports.jsonl"):
        os.utime(folder.trial("search-0001").path / name, (long_ago, long_ago))
    assert main(["--status", "mine", f"storage={folder.path.parent}"]) == 0
    assert "--resume mine goes on" in capsys.readouterr().out


def test_what_failed_is_told_with_its_cause(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    add(folder, 1, 2, "failed", reason="no epoch within 9 seconds [/]", error="Timeout\nThread")
    add(folder, 2, 0, "failed", error="Traceback\n  …\nValueError: of before reasons\n")
    assert main(["--status", "mine", f"storage={folder.path.parent}"]) == 0
    said = capsys.readouterr().out
    assert "search-0001  2       no epoch within 9 seconds [/]" in said
    assert "search-0002  0       ValueError: of before reasons" in said
    assert "Thread" not in said


def test_a_clock_that_is_ahead_makes_no_silence_of_less_than_nothing(folder: StudyFolder) -> None:
    add(folder, 1, 2, None)
    ahead = time.time() + 3600
    os.utime(folder.trial("search-0001").path / "reports.jsonl", (ahead, ahead))
    assert read(folder).silent == {"search-0001": 0}


def test_a_study_that_was_described_is_finished(folder: StudyFolder) -> None:
    add(folder, 1, 4, "finished")
    assert read(folder).state != "finished"
    (folder.path / "description.md").write_text("")
    assert read(folder).state == "finished"
    add(folder, 2, 3, None)
    assert read(folder).state != "finished"


def test_an_extension_is_told(folder: StudyFolder) -> None:
    (folder.path / "extensions.json").write_text(
        json.dumps([{"from": 8, "to": 12, "candidates": None}])
    )
    assert read(folder).extended == (8,)


def test_looking_changes_nothing(folder: StudyFolder) -> None:
    add(folder, 1, 2, None)
    before = {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()}
    assert main(["--status", "mine", f"storage={folder.path.parent}"]) == 0
    assert {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()} == before
