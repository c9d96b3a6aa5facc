"""A tracker of another package: one object, which writes what it hears as lines of JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from written_study import Written

from study.storage.ledger import End
from study.tracking import named
from study.tracking.tracker import Tracker
from study.trial import TrialConfig
from study.trial.study import Study


class JsonLines(Tracker):
    """A tracker that writes a line a trial into ``tracked.jsonl`` of the study's folder."""

    name = "lines"
    file: IO[str]

    def start(self, study: Study) -> None:
        self.file = (study.folder.path / "tracked.jsonl").open("a", encoding="utf-8", buffering=1)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        self.write(trial=config.trial_id, status=end.status, score=score)

    def close(self, *, finished: bool) -> Mapping[str, str]:
        self.write(finished=finished)
        self.file.close()
        return {}

    def write(self, **line: Any) -> None:
        self.file.write(json.dumps(line) + "\n")


def test_a_tracker_of_another_package_hears_of_every_trial(tmp_path: Path) -> None:
    study = Written(tmp_path, "tracked")
    tracker = named("lines", JsonLines())
    tracker.check(study.config)
    tracker.start(study.study)
    for number in range(2):
        config = study.trial(number)
        score = study.report(config, 1)
        tracker.trial_ended(config, study.end(config), score)
    tracker.register()
    assert tracker.close(finished=True) == {}
    lines = (study.folder.path / "tracked.jsonl").read_text(encoding="utf-8").splitlines()
    first, second, last = map(json.loads, lines)
    assert (first["trial"], first["score"]) == ("search-0000", 0.01)
    assert second == first | {"trial": "search-0001", "score": 0.11}
    assert last == {"finished": True}
