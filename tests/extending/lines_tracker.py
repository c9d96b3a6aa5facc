"""A tracker of another package: one object, which writes what it hears as lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

from study.tracking.tracker import Tracker, TrackerMessages
from study.trial.study import Study


class LinesTracker(Tracker):
    """A tracker that writes a line for each trial into ``tracked.jsonl`` of the working folder."""

    def start(self, study: Study) -> None:
        """Tell what ended while no tracker listened, as with a driver that was killed."""
        self._folder = study.folder
        for trial in study.folder.trials():
            self.trial_changed(trial.trial_id)

    def trial_changed(self, trial_id: str) -> None:
        """Tell of a trial that has ended."""
        end = self._folder.trial(trial_id).read_end()
        if end:
            with Path("tracked.jsonl").open("a", encoding="utf-8") as file:
                print(json.dumps([trial_id, end.status, end.epochs]), file=file)

    def close(self, *, finished: bool) -> TrackerMessages:
        """Do nothing, since each line is a file's own."""
        return TrackerMessages()


LINES = LinesTracker()
