"""A study ends once: whoever closes it first does it, and losing Ray ends the process too."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from reacting import reacting
from rich.console import Console

from study.errors import INTERRUPTED
from study.storage.ledger import End, StudyFolder
from study.tracking.tracker import Tracker
from study.trial import TrialConfig
from study.trial.study import Study
from study.workflow.ending import Ending
from study.workflow.progress import Steps


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
    Ending(StudyFolder(Path("runs/mine")), tracker, console).close(Steps(console), finished=True)
    assert tracker.closed == [True]
    shown = capsys.readouterr().out
    assert "sending the rest to kept" in shown
    assert "kept lacks 1 run:" in shown
    assert "\n  clipfit-study sync mine\n" in shown


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_kill_does_not_stop_what_it_asks_for(name: signal.Signals) -> None:
    class Killed(Kept):
        def close(self, *, finished: bool) -> Mapping[str, str]:
            signal.raise_signal(name)
            return super().close(finished=finished)

    console, tracker = Console(quiet=True), Killed({})
    ending = Ending(StudyFolder(Path("runs/mine")), tracker, console)
    with reacting(), pytest.raises(KeyboardInterrupt):
        ending.close(Steps(console), finished=True)
    assert tracker.closed == [True]


def test_where_a_study_is_closed_already_the_loss_of_ray_changes_nothing() -> None:
    console, tracker = Console(quiet=True), Kept({})
    ending = Ending(StudyFolder(Path("runs/mine")), tracker, console)
    ending.close(Steps(console), finished=True)
    ending.without_ray("it has ended")  # and this process goes on
    assert tracker.closed == [True]


def test_the_loss_of_ray_ends_the_process_as_an_interruption_does(tmp_path: Path) -> None:
    script = f"""
        import sys, threading
        from functools import partial
        sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}
        from pathlib import Path
        from rich.console import Console
        from study.storage.ledger import StudyFolder
        from study.workflow.ending import Ending
        from study.workflow.progress import Steps
        from test_ending import Kept

        class Slow(Kept):
            def close(self, *, finished):
                also = partial(main.close, Steps(console), finished=True)
                threading.Thread(target=also).start()
                threading.Event().wait(0.3)
                print("closed", finished)
                return {{}}

        console = Console(width=200)
        main = Ending(StudyFolder(Path("runs/mine")), Slow({{}}), console)
        threading.Thread(target=main.without_ray, args=["it has ended"]).start()
        threading.Event().wait(60)
        print("the main thread went on")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == INTERRUPTED, done.stderr
    assert done.stderr.strip() == (
        "error: the study was interrupted, since it has ended; to continue, run\n"
        "  clipfit-study run --resume mine"
    )
    assert done.stdout.count("closed False") == 1
    assert "closed True" not in done.stdout
    assert "went on" not in done.stdout
