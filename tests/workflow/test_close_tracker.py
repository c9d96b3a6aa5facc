"""At the end of a study its tracker is sent the rest, and what it lacks is told."""

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.tracking.tracker import Tracker
from study.tracking.tracker_group import TrackerGroup
from study.trial import TrialConfig
from study.trial.study import Study
from study.workflow.close_tracker import close_tracker
from study.workflow.progress import Steps
from tests.reacting import reacting

MINE = StudyFolder(Path("runs/mine"))


class Kept(Tracker):
    """A tracker that tells how it was closed."""

    name = title = "kept"

    def __init__(self, unsent: Mapping[str, str]) -> None:
        self.unsent, self.closed = unsent, list[bool]()

    def start(self, study: Study) -> None:
        """Nothing."""

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """Nothing."""

    def close(self, *, finished: bool) -> Mapping[str, str]:
        """Tell it."""
        self.closed.append(finished)
        return self.unsent


def test_what_was_not_sent_is_named_with_the_command_that_sends_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console, tracker = Console(width=200), Kept({"search-0001": "it is down"})
    close_tracker(tracker, MINE, console, Steps(console), finished=True)
    assert tracker.closed == [True]
    shown = capsys.readouterr().out
    assert "sending the rest to kept" in shown
    assert "kept lacks 1 run:" in shown
    assert "\n  clipfit-study sync mine\n" in shown


def test_no_step_is_told_where_nothing_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=200)
    close_tracker(TrackerGroup([]), MINE, console, Steps(console), finished=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_kill_does_not_stop_what_it_asks_for(name: signal.Signals) -> None:
    class Killed(Kept):
        def close(self, *, finished: bool) -> Mapping[str, str]:
            signal.raise_signal(name)
            return super().close(finished=finished)

    console, tracker = Console(quiet=True), Killed({})
    with reacting(), pytest.raises(KeyboardInterrupt):
        close_tracker(tracker, MINE, console, Steps(console), finished=True)
    assert tracker.closed == [True]
