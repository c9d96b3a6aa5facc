"""A tracker of another package: one object, which writes what it hears as lines of JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import pytest

from study.storage.trial_folder import End
from study.tracking.tracker import Tracker
from study.trial import TrialConfig
from study.trial.study import Study
from tests.in_process import trials_in_process


class JsonLines(Tracker):
    """A tracker that writes a line a trial into ``tracked.jsonl`` of the study's folder."""

    name = "lines"
    file: IO[str]

    def start(self, study: Study):
        self.file = (study.folder.path / "tracked.jsonl").open("a", buffering=1)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None):
        line = {"trial": config.trial_id, "status": end.status, "score": score}
        print(json.dumps(line), file=self.file)

    def close(self, *, finished: bool) -> Mapping[str, str]:
        print(json.dumps({"finished": finished}), file=self.file)
        self.file.close()
        return {}


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster")
def test_a_study_tells_it_of_every_trial(small: Any, tmp_path: Path):
    tracking = {"trackers": ["lines"]}
    with trials_in_process():
        folder = small({"trials": 0}, values={"tracking": tracking}, tracker=JsonLines())
    lines = (folder.path / "tracked.jsonl").read_text().splitlines()
    *trials, last = map(json.loads, lines)
    assert {line["trial"] for line in trials} == {trial.trial_id for trial in folder.trials()}
    assert {line["status"] for line in trials} == {"finished"}
    assert last == {"finished": True}
    assert not (tmp_path / "mlflow.db").exists()
