"""How far a study is, told from its folder alone, and by its driver while trials run."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config, dump_config
from study.results.study_results import read_results
from study.run import main
from study.selection.chance import AgainstChance, write_against_chance
from study.selection.optimism import Optimism
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial import Prediction, TrialConfig
from study.trial.predictions import predictions_to_parquet
from study.workflow.status import Status, study_status
from tests.changed_studies import forget_images

CONFIG = build_config({"name": "mine", "search": {"trials": 12}}, "test")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(CONFIG), {})
    return folder


def add(
    folder: StudyFolder,
    number: int,
    reports: int,
    status: str | None,
    *,
    chosen: Mapping[str, Any] | None = None,
    reason: str | None = None,
    error: str | None = None,
    **changes: Any,
) -> None:
    """Write a trial: changes of its configuration, and what its reports have of its head."""
    values: dict[str, Any] = {
        "trial_id": f"search-{number:04d}",
        "stage": "search",
        "arm": "search",
        "label": f"trial {number}",
        "number": number,
        "seed": 1,
        "settings": {"subset": "vision.ln", "rates": {"ln": 0.1}},
        "subset_key": "0",
        "trainable": 100,
        "epochs": 4,
        "split_hash": "0",
    }
    config = TrialConfig.model_validate(values | changes)
    trial = folder.trial(config.trial_id)
    trial.create(config.model_dump(mode="json"))
    for epoch in range(1, reports + 1):
        trial.append_report({"epoch": epoch, "val_score": number / 10, **(chosen or {})})
    if status is not None:
        end = End(status, reports, 1.0, reason=reason, error=error)  # type: ignore[arg-type]
        trial.write_end(end)


def read(folder: StudyFolder) -> Status:
    return study_status(read_results(folder.path))


def test_done_running_and_best_are_told(folder: StudyFolder) -> None:
    add(folder, 1, 4, "finished")
    add(folder, 2, 4, "finished")
    add(folder, 3, 3, "stopped")
    add(folder, 4, 2, None)
    with folder.locked():
        status = read(folder)
    assert status.counts == {"search": {"finished": 2, "stopped": 1, "unfinished": 1}}
    assert [(r.trial_id, r.epochs, r.epochs_planned) for r in status.running] == [
        ("search-0004", 2, 4)
    ]
    assert [trial.number for trial in status.best] == [2, 1]
    assert status.state == "searching"


def test_peers_and_variants_stand_outside_the_planned_trials(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    add(folder, 1, 4, "finished")
    add(folder, 2, 4, "finished", arm="variant", label="ln-linear")
    add(folder, 3, 4, "finished", arm="baseline", label="linear")
    add(folder, 4, 4, "finished", arm="baseline", label="ln")
    counts = read(folder).counts
    assert counts == {"search": {"finished": 2}, "peers and variants": {"finished": 2}}
    assert main(["status", "mine", f"storage={folder.path.parent}"]) == 0
    said = capsys.readouterr().out
    assert "search: 2 of 12 trials: 2 finished" in said
    beside = next(line for line in said.splitlines() if line.startswith("beside the search"))
    assert beside.endswith(": 2 trials: 2 finished")


def test_the_best_are_told_with_the_head_that_validation_chose(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"subset": "vision.ln", "rates": {"ln": 0.1}, "head": "linear", "strength": 0.75}
    add(folder, 1, 4, "finished", settings=own, chosen={"head_lr": 0.001, "head_steps": 30})
    assert main(["status", "mine", f"storage={folder.path.parent}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    row = "search-0001 10.00 linear, learning rate 0.001, 30 steps 0.75 – 0.1 0 vision.ln"
    assert f"subset {row}" in said


def test_a_study_is_interrupted_once_no_driver_holds_it_however_lately_it_wrote(
    folder: StudyFolder,
) -> None:
    add(folder, 1, 2, None)
    with folder.locked():
        assert read(folder).state == "searching"
    assert read(folder).state == "interrupted"
    (folder.path / "candidates.json").write_text("[]")
    assert read(folder).state == "interrupted"


def test_what_failed_is_told_with_its_cause(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    add(folder, 1, 2, "failed", reason="no epoch within 9 seconds [/]", error="Timeout\nThread")
    assert main(["status", "mine", f"storage={folder.path.parent}"]) == 0
    said = capsys.readouterr().out
    assert "search-0001  2       no epoch within 9 seconds [/]" in said
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


def test_an_ablation_has_no_planned_number_of_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StudyFolder(tmp_path / "mine")
    ablation = {"design": "only_one", "rates": [0.1, 0.2]}
    folder.create(dump_config(build_config({"name": "mine", "ablation": ablation}, "test")), {})
    add(folder, 1, 4, "finished")
    assert read(folder).wanted is None
    assert main(["status", "mine", f"storage={tmp_path}"]) == 0
    assert "search: 1 trial: 1 finished" in capsys.readouterr().out


def test_looking_changes_nothing(folder: StudyFolder) -> None:
    add(folder, 1, 2, None)
    before = {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()}
    assert main(["status", "mine", f"storage={folder.path.parent}"]) == 0
    assert {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()} == before


def confirmed(folder: StudyFolder, val_score: float = 0.2) -> None:
    """Let the study have chosen and tested one configuration, by a trial that guesses."""
    add(folder, 2, 4, "finished")
    choice = {"label": "best", "val_score": val_score, "settings": {"subset": "vision.ln"}}
    folder.write_json("candidates.json", [choice])
    changes: dict[str, Any] = {
        "trial_id": "confirm-best-seed1",
        "stage": "confirm",
        "label": "best",
    }
    add(folder, 1, 0, None, **changes)
    trial = folder.trial("confirm-best-seed1")
    shown = [Prediction("accuracy", f"{n}.png", "ab"[n // 6], "a", 0.9) for n in range(8)]
    trial.write("predictions.parquet", predictions_to_parquet(shown))
    trial.append_report({"epoch": 4, "test_score": 0.75})
    trial.write_end(End("finished", 4, 1.0))


def test_the_scores_of_the_choice_are_told_with_what_is_known_of_them(folder: StudyFolder) -> None:
    assert read(folder).told == ()
    confirmed(folder)
    folder.write_json("optimism.json", Optimism(41, 0.2, 0.17, {}))
    write_against_chance(folder, {"best": AgainstChance(0.6, 0.5, images=8, low=0.3)})
    status = read(folder)
    assert (status.expected, status.test_score, status.balanced) == (0.17, 0.75, 0.5)
    assert status.told == (
        "the choice: 20.0 % on validation, the best of 41; expect about 17 %",
        "the choice: 75.0 % on test, balanced 50.0 %; not shown to beat chance with 8 test images",
    )


def test_what_is_not_known_of_the_scores_of_the_choice_is_not_told(folder: StudyFolder) -> None:
    confirmed(folder)
    write_against_chance(folder, {"best": AgainstChance(0.6, 0.5, images=8, low=0.51)})
    assert read(folder).told == (
        "the choice: 20.0 % on validation",
        "the choice: 75.0 % on test, balanced 50.0 %",
    )


def test_a_choice_without_predictions_has_no_balanced_score(
    folder: StudyFolder,
) -> None:
    confirmed(folder)
    forget_images(folder.path)
    status = read(folder)
    assert (status.test_score, status.balanced) == (0.75, None)
