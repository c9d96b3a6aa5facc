"""At the end of a study its tracker is sent the rest, and what it lacks is told."""

import io
import signal
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from rich.console import Console

from study.commands.close_tracker import close_tracker
from study.commands.progress import Steps
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import NoTracker, Tracker, TrackerLines
from tests.reacting import reacting

MINE = StudyFolder(Path("runs/mine"))


@pytest.fixture
def tracker() -> Any:
    tracker = create_autospec(Tracker, instance=True, title="kept")
    tracker.close.return_value = TrackerLines("1 run:\n  search-0001: it is down", [("page", "x")])
    return tracker


def test_what_was_not_sent_is_named_with_the_command_that_sends_it(
    tracker: Any, console: Console, output: io.StringIO
):
    hints = close_tracker(tracker, MINE, console, Steps(console), finished=True)
    assert hints == [("page", "x")]
    tracker.close.assert_called_once_with(finished=True)
    shown = output.getvalue()
    assert "sending the rest to kept" in shown
    assert "kept lacks 1 run:" in shown
    assert "\n  clipfit-study sync mine\n" in shown


def test_no_step_is_told_where_nothing_is_sent(console: Console, output: io.StringIO):
    close_tracker(NoTracker(), MINE, console, Steps(console), finished=True)
    assert output.getvalue() == ""


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_kill_does_not_stop_what_it_asks_for(tracker: Any, console: Console, name: signal.Signals):
    closed = []

    def close(*, finished: bool) -> TrackerLines:
        signal.raise_signal(name)
        closed.append(finished)
        return TrackerLines()

    tracker.close.side_effect = close
    with reacting(), pytest.raises(KeyboardInterrupt):
        close_tracker(tracker, MINE, console, Steps(console), finished=True)
    assert closed == [True]
