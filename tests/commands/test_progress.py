"""How far a stage is, by its driver while trials run."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from study.commands import progress as module
from study.commands.progress import StageProgress
from study.storage.trial_folder import End
from study.trial.study import TrialConfig
from tests.settings import settings


def config(number: int, subset: str = "vision.ln[0:2]", epochs: int = 3) -> TrialConfig:
    values = {"trial_id": f"search-{number}", "number": number}
    values |= {"stage": "search", "group": "search", "label": "", "seed": 1}
    return TrialConfig(
        **values, settings=settings(subset), trainable=1, epochs=epochs, split_hash=""
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still, whose time is ``now``."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("stage, terminal", [("search", True), ("test", False)])
def test_it_shows_done_running_stopped_and_the_best_of_a_search(
    terminal: bool, stage: str, output: io.StringIO
):
    console = Console(file=output, width=200, force_terminal=terminal, color_system=None)
    with StageProgress(console, stage, total=6) as line:
        for number in range(4):
            line.trial_started(config(number))
        line.trial_ended(config(0), End("finished", 3, 1.0), 0.5)
        line.trial_ended(config(1, "text.ln1[0:2]"), End("finished", 3, 1.0), 0.75)
        line.trial_ended(config(2), End("stopped", 2, 1.0), 0.9)
    assert "3/6 done · " in output.getvalue()
    assert "1 running · 1 stopped" in output.getvalue()
    for best in ("best 75.0%", "best: text.ln1[0:2]"):  # of a test, it would be selection by tests
        assert (best in output.getvalue()) == (stage == "search")


def test_a_file_gets_a_line_as_trials_end_and_at_most_two_a_minute(
    clock: SimpleNamespace, console: Console, output: io.StringIO
):
    with StageProgress(console, "search", total=60) as line:
        for number in range(60):
            line.trial_started(config(number))
            line.trial_reported(config(number), 1, {})
            clock.now += 5
            line.trial_ended(config(number), End("finished", 3, 1.0), 0.5)
    lines = output.getvalue().splitlines()
    assert 8 <= len(lines) <= 11, "of five minutes"
    assert [line for line in lines if "60/60" in line] == lines[-1:]


def test_the_time_left_is_by_what_trains_and_within_the_limit(
    clock: SimpleNamespace, console: Console
):
    line = StageProgress(console, "search", total=12, done=2)
    line.trial_ended(config(0, epochs=0), End("finished", 0, 0.1), 0.3)
    assert "left" not in line.line(), "a trial without an epoch says nothing of the others"
    clock.now += 600
    line.trial_ended(config(1), End("failed", 0, 0.0, error="x"), None)
    assert line.line().startswith("4/12 done · best 30.0% · 80 min left · 0 running · 1 failed · ")
    line.limit(1200)
    assert "20 min left" in line.line()
