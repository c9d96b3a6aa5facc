"""How far a stage is, told by its driver while trials run, on a terminal of any width."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from study.commands import progress as module
from study.commands.progress import StageProgress, Steps
from study.storage.trial_folder import End
from study.trial.study import TrialConfig
from tests.case_tables import from_table
from tests.settings import settings

SHOW_CURSOR, ERASE_LINE = "\x1b[?25h", "\x1b[2K"


def config(number: int, subset: str = "vision.ln[0:2]") -> TrialConfig:
    values = {"trial_id": f"search-{number}", "number": number}
    values |= {"stage": "search", "group": "search", "label": "", "seed": 1}
    return TrialConfig(**values, settings=settings(subset), trainable=1, epochs=3, split_hash="")


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


@pytest.fixture
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console, by default no terminal, that is told every change, as if much time had passed."""
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    return console(terminal=getattr(request, "param", False))


@pytest.mark.parametrize("out", [True, False], indirect=True)
def test_it_tells_done_running_stopped_best_and_time_left(out: Console):
    with StageProgress(out, "search", total=6) as line:
        for number in range(4):
            line.trial_started(config(number))
        line.trial_reported(config(0), 1, {"val_score": 0.4})
        line.trial_ended(config(0), End("finished", 3, 1.0), 0.5)
        line.trial_ended(config(1, "text.ln1[0:2]"), End("finished", 3, 1.0), 0.75)
        line.trial_ended(config(2), End("stopped", 2, 1.0), 0.9)
    assert "3/6 done · best 75.0% · " in text(out)
    assert "left · 1 running · 1 stopped · best: text.ln1[0:2]" in text(out)


def test_it_is_told_as_it_happens_on_a_terminal_that_moves_no_line(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "dumb")
    out = console(terminal=True)
    with StageProgress(out, "search", total=6) as line:
        line.trial_started(config(0))
        assert "0/6 done · 1 running\n" in text(out)


def test_the_best_so_far_is_told_with_its_head(out: Console):
    with StageProgress(out, "search", total=1) as line:
        own = {"settings": {"subset": "none", "head": "linear"}}
        best = config(0).model_dump() | own
        line.trial_ended(TrialConfig.model_validate(best), End("finished", 0, 1.0), 0.5)
    assert "best 50.0% · 0 running · best: a linear head on CLIP as it is" in text(out)


@pytest.mark.parametrize("out", [True, False], indirect=True)
def test_the_scores_of_baselines_and_the_first_of_each_peer_are_told_as_they_come(out: Console):
    peer = {"peer": {"method": "projection", "lr": 0.01}}
    trials = [
        ("baseline", "zero-shot", {}),
        *2 * [("mine", "mine 1", peer)],
    ]
    with StageProgress(out, "search", total=9) as line:
        for number, (group, label, own) in enumerate(trials):
            values = config(number).model_dump() | {"group": group, "label": label}
            values["settings"] = {"subset": "none", **own}
            line.trial_ended(TrialConfig.model_validate(values), End("finished", 3, 1.0), 0.68)
    scores = re.findall(r"search   (\S+ \S+ %) on validation", text(out))
    assert scores == ["zero-shot 68.0 %", "mine 68.0 %"]


def test_a_resumed_stage_counts_what_was_done_and_judges_speed_by_its_own(out: Console):
    with StageProgress(out, "search", total=6, done=4) as line:
        line.trial_started(config(4))
        assert "left" not in text(out)
        line.trial_ended(config(4), End("failed", 0, 0.0, error="x"), None)
    assert re.search(r"5/6 done · \d+ s left · 0 running · 1 failed", text(out))


def test_tests_have_no_best_so_far(out: Console):
    """It would be a look at test scores, and a choice by them."""
    with StageProgress(out, "test", total=2) as line:
        line.trial_ended(config(0), End("finished", 3, 1.0), 0.5)
    assert "best" not in text(out)


def test_nothing_but_a_terminal_is_spoken_to_seldom():
    out = console(terminal=False)
    with StageProgress(out, "search", total=99) as line:
        for number in range(50):
            line.trial_started(config(number))
            line.trial_ended(config(number), End("finished", 3, 1.0), 0.5)
    assert len(text(out).splitlines()) <= 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still, whose time is ``now``."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(module, "time", clock)
    return clock


def half_done(clock: SimpleNamespace, name: str = "text.ln") -> StageProgress:
    """A stage of which 60 of 120 trials took an hour, and one was stopped."""
    line = StageProgress(console(terminal=False), "search", total=120)
    for number in range(59):
        line.trial_ended(config(number, name), End("finished", 3, 1.0), 0.75)
    line.trial_ended(config(59), End("stopped", 3, 1.0), 0.5)
    clock.now += 3600
    return line


@from_table
def test_a_limit_shortens_the_time_left(clock: SimpleNamespace, minutes: float | None, left: int):
    line = half_done(clock)
    line.limit(None if minutes is None else 60 * minutes)
    assert f" {left} min left" in line.line(200)


NAME = "text.attn.v.bias[0:3] + vision.ln"


@pytest.mark.parametrize(
    "room, rest",
    [
        (45, ""),
        (54, " · 0 running"),
        (63, " · 0 running · 1 stopped"),
        (93, " · 0 running · 1 stopped · best: text.attn.v.bias[0:3]…"),
        (104, f" · 0 running · 1 stopped · best: {NAME}"),
    ],
)
def test_what_matters_most_comes_first_and_the_name_is_shortened(
    clock: SimpleNamespace, room: int, rest: str
):
    most = "60/120 done · best 75.0% · 60 min left"
    assert half_done(clock, NAME).line(room) == f"{most}{rest}"


@pytest.mark.parametrize("terminal", [False, True], ids=["none", "one that moves no line"])
def test_each_step_is_a_line_where_no_line_can_move(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
):
    monkeypatch.setenv("TERM", "dumb")
    output = io.StringIO()
    with Steps(Console(file=output, width=40, force_terminal=terminal)) as step:
        step("making [bold]tables[/], charts and the whole report")
        step("sending the rest")
        assert output.getvalue().count("\n") == 2, "it is told as it begins"
    assert output.getvalue() == (
        "finish   making [bold]tables[/], charts and the whole report\nfinish   sending the rest\n"
    )


def shown_soon(output: io.StringIO, text: str) -> bool:
    """Whether a text appears, which a thread of its own writes."""
    end = time.monotonic() + 120
    while text not in output.getvalue() and time.monotonic() < end:
        time.sleep(0.02)
    return text in output.getvalue()


def test_on_a_terminal_a_step_is_shown_while_it_lasts_and_then_gone():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=60)
    step = Steps(console)
    step("making [bold]charts[/]")
    assert shown_soon(output, "making [bold]charts[/]")
    with step:
        step("sending the rest")
        assert shown_soon(output, "sending the rest")
        assert SHOW_CURSOR not in output.getvalue()
    assert SHOW_CURSOR in output.getvalue()
    assert output.getvalue().endswith(ERASE_LINE)


def test_steps_of_which_there_are_none_show_nothing():
    output = io.StringIO()
    with Steps(Console(file=output, force_terminal=True)):
        pass
    assert output.getvalue() == ""
