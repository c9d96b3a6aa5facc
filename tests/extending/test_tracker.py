"""A tracker of another package is notified of every trial."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.not_none import not_none


@pytest.mark.long
@pytest.mark.ci
def test_a_study_reports_every_trial_to_it(
    small: Any, install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    install("trackers", "lines = tests.extending.lines_tracker:LINES")
    folder = small({"trials": 0}, tracking={"tracker": "lines"})
    lines = (tmp_path / "tracked.jsonl").read_text().splitlines()
    ends = {trial.trial_id: not_none(trial.read_end()) for trial in folder.trials()}
    message = [[name, "finished", end.epochs] for name, end in ends.items()]
    assert sorted(map(json.loads, lines)) == sorted(message)
    assert not (tmp_path / "mlflow.db").exists()
