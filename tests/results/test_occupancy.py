"""Busy time over slots and wall time, on work whose times are known."""

import json
from pathlib import Path

import pytest

from study.protocols import FewShot
from study.results.occupancy import Occupancy, occupancy
from study.results.trial_results import read_trials
from study.storage.study_folder import StudyFolder
from tests.not_none import not_none


def write(folder: Path, name: str, ends: list[float], *, seconds: float):
    trial = folder / "trials" / name
    trial.mkdir(parents=True)
    values = {"stage": "search", "settings": {"subset": "none"}}
    (trial / "config.json").write_text(json.dumps(values))
    reports = [{"epoch": n, "seconds": seconds, "ended_at": end} for n, end in enumerate(ends, 1)]
    (trial / "reports.jsonl").write_text("".join(json.dumps(r) + "\n" for r in reports))


def test_it_is_work_over_slots_and_wall_time(tmp_path: Path):
    write(tmp_path, "a", [10.0, 20.0], seconds=8)  # 2 to 10, 12 to 20
    write(tmp_path, "b", [20.0], seconds=10)  # 10 to 20
    found = not_none(occupancy(read_trials(StudyFolder(tmp_path), FewShot())))
    assert found == Occupancy(trials=2, slots=2, wall=18.0, busy=26.0)
    assert found.share == pytest.approx(26 / 36)


def test_one_trial_after_another_needs_one_slot_and_the_night_between_does_not_count(
    tmp_path: Path,
):
    write(tmp_path, "a", [10.0], seconds=10)
    write(tmp_path, "b", [20.0], seconds=10)
    write(tmp_path, "c", [40_000.0], seconds=10)
    found = occupancy(read_trials(StudyFolder(tmp_path), FewShot()))
    assert found == Occupancy(trials=3, slots=1, wall=30.0, busy=30.0)


def test_a_study_without_times_has_none(few_shot_study: Path):
    assert occupancy(read_trials(StudyFolder(few_shot_study), FewShot())) is None
