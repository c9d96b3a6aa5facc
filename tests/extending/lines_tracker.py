"""A tracker of another package: one object, which writes what it hears as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from study.storage.trial_folder import End
from study.tracking.tracker import Tracker
from study.trial import TrialConfig
from study.trial.study import Study


class LinesTracker(Tracker):
    """A tracker that writes a line for each trial into ``tracked.jsonl`` of the working folder."""

    name = "lines"

    def start(self, study: Study) -> None:
        """Tell what ended while no tracker listened, as with a driver that was killed."""
        for trial in study.folder.trials():
            end = trial.read_end()
            if end:
                self._tell(trial.trial_id, end)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """Tell of a trial."""
        self._tell(config.trial_id, end)

    def close(self, *, finished: bool) -> Mapping[str, str]:
        """Do nothing, since each line is a file's own."""
        return {}

    def _tell(self, trial_id: str, end: End) -> None:
        with Path("tracked.jsonl").open("a", encoding="utf-8") as file:
            print(json.dumps([trial_id, end.status, end.epochs]), file=file)


LINES = LinesTracker()
