"""A whole study on a miniature in its exact format reads test images only after its selection."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import study.commands.execution
from study.run import main
from study.storage.study_folder import StudyFolder
from study.trial.study import Candidate
from tests import miniature
from tests.real_study import statuses

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]


def test_no_test_image_is_opened_before_the_selection(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = miniature.make("eurosat", tmp_path / "locked", classes=4, counts=(4, 2, 2))
    split = json.loads((folder / "split_zhou_EuroSAT.json").read_text())
    tested = {f"2750/{path}" for path, _, _ in split["test"]}
    whole = shutil.copytree(folder, tmp_path / "whole")
    for path in tested:
        (folder / path).write_bytes(b"whoever opens this before test finds no image")
    fix = study.commands.execution.read_or_choose_candidates

    def fix_and_unlock(*arguments: Any) -> tuple[Candidate, ...]:
        candidates = fix(*arguments)
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        return candidates

    monkeypatch.setattr(study.commands.execution, "read_or_choose_candidates", fix_and_unlock)
    small = [
        *("name=locked", f"data.root={folder.parent}", f"storage={tmp_path}"),
        *(f"backbone.name={tiny_backbone}", "tracking.tracker=none", "training.epochs=2"),
        *("data.dataset=eurosat", "data.shots=2", "data.val_shots=1", "test.seeds=[1, 2]"),
        *("search.trials=5", "search.asha=null", "resources.gpus_per_trial=0"),
    ]
    assert main(["paper/base_to_new", *small]) == 0
    locked = StudyFolder(tmp_path / "locked-base_to_new-eurosat")
    assert statuses(locked).keys() == {"finished"}
    for trial in locked.trials():
        config = trial.read_config()
        record = locked.path / "shots" / f"tasks-{config['split_hash']}.jsonl"
        opened = {json.loads(line).get("path") for line in record.read_text().splitlines()}
        assert bool(opened & tested) == (config["stage"] == "test")
