"""What the terminal tells while trials run."""

import io
from typing import Any

import pytest
from rich.console import Console

from study.storage.ledger import End
from study.trial import TrialConfig
from study.workflow import progress
from study.workflow.progress import StageProgress


def config(number: int, subset: str = "vision.ln[0:2]") -> TrialConfig:
    values: dict[str, Any] = {"trial_id": f"search-{number}", "number": number, "subset": subset}
    values |= {"stage": "search", "arm": "search", "label": "", "subset_key": "", "seed": 1}
    return TrialConfig(**values, trainable=1, epochs=3, split_hash="")


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_it_tells_done_running_stopped_best_and_time_left(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    out = console(terminal=terminal)
    with StageProgress(out, "search", total=6) as line:
        for number in range(4):
            line.trial_started(config(number))
        line.trial_reported(config(0), 1, 0.4)
        line.trial_ended(config(0), End("finished", 3, 1.0), 0.5)
        line.trial_ended(config(1, "text.ln"), End("finished", 3, 1.0), 0.75)
        line.trial_ended(config(2), End("stopped", 2, 1.0), 0.9)
    assert "3/6 done · 1 running · 1 stopped · best 75.0% text.ln · about" in text(out)


def test_a_subset_with_layers_is_not_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    out = console(terminal=False)
    with StageProgress(out, "search", total=1) as line:
        line.trial_ended(config(0, "vision.ln[0:2]"), End("finished", 3, 1.0), 0.5)
    assert "best 50.0% vision.ln[0:2]" in text(out)


def test_a_resumed_stage_counts_what_was_done_and_judges_speed_by_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    out = console(terminal=False)
    with StageProgress(out, "search", total=6, done=4) as line:
        line.trial_started(config(4))
        assert "left" not in text(out)
        line.trial_ended(config(4), End("failed", 0, 0.0, error="x"), None)
    assert "5/6 done · 0 running · 1 failed" in text(out)


def test_confirmations_have_no_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a look at test scores, and a choice by them."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    out = console(terminal=False)
    with StageProgress(out, "confirm", total=2) as line:
        line.trial_ended(config(0), End("finished", 3, 1.0), 0.5)
    assert "best" not in text(out)


def test_nothing_but_a_terminal_is_spoken_to_seldom() -> None:
    out = console(terminal=False)
    with StageProgress(out, "search", total=99) as line:
        for number in range(50):
            line.trial_started(config(number))
            line.trial_ended(config(number), End("finished", 3, 1.0), 0.5)
    assert len(text(out).splitlines()) <= 2
