"""Machines that come and go: what was done twice is counted, and a small run loses nothing."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).with_name("turnover.py")


@pytest.fixture
def turnover(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    yield importlib.import_module("turnover")
    for name in ("turnover", "paired"):
        sys.modules.pop(name, None)


def test_epochs_that_were_done_again_are_counted_for_each_move_of_a_trial(
    turnover: ModuleType,
) -> None:
    notes = [("a", 1.0, 10, 1), ("a", 2.0, 10, 2), ("b", 1.0, 11, 1)]
    assert turnover.repeated(notes) == []
    notes += [("a", 3.0, 12, 3), ("a", 4.0, 13, 3), ("b", 2.5, 14, 1), ("b", 3.5, 14, 2)]
    assert turnover.repeated(notes) == [("a", 0), ("a", 1), ("b", 1)]
    assert turnover.repeated([*notes, ("b", 9.0, 15, 1)])[-1] == ("b", 2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_machine_that_is_lost_costs_no_result_and_an_epoch_at_most() -> None:
    small = ["--machines", "2", "--slots", "2", "--every", "10", "--trials", "12", "--sleep", "1"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *small], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = dict(line.rsplit("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    (lost,) = (value for name, value in figures.items() if name.startswith("machines lost"))
    assert int(lost.split(",")[0]) >= 1
    assert "nothing lost" in done.stdout
