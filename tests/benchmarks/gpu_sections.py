"""Sections of a measurement that has to end in time, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from paired import table

Numbers = Mapping[str, Any]
Measure = Callable[[str, str, bool], Numbers]
"""What measures a row, by its name, a device and whether shapes are tiny; it can be imported."""


@dataclass(frozen=True)
class Section:
    """Rows that are measured in one process, one after the other."""

    name: str
    title: str
    headings: tuple[str, ...]
    """Of the columns after the row's name."""
    rows: tuple[str, ...]
    measure: Measure
    cells: Callable[[Numbers], Sequence[str]]
    """What writes the numbers of a row."""
    seconds: float
    """The time that it may take; what it leaves is for later sections."""
    notes: tuple[str, ...] = ()


@dataclass
class Found:
    """What a section came to."""

    section: Section
    numbers: dict[str, Numbers] = field(default_factory=dict)
    """By row."""
    faults: dict[str, str] = field(default_factory=dict)
    """What went wrong, in one line, by row."""
    left_out: list[str] = field(default_factory=list)
    """The rows for which there was no time."""
    seconds: float = 0.0

    def markdown(self) -> str:
        """Return the table, what failed, what was left out, and the notes."""
        own, notes = self.section, [*self.section.notes]
        rows = [[row, *own.cells(numbers)] for row, numbers in self.numbers.items()]
        notes += [f"{row} failed: {fault}" for row, fault in self.faults.items()]
        if self.left_out:
            notes.append(f"Left out for time: {'; '.join(self.left_out)}.")
        lines = "".join(f"- {note}\n" for note in notes)
        return table(own.title, ("", *own.headings), rows) + "\n" + lines

    def values(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "title": self.section.title,
            "rows": self.numbers,
            "failed": self.faults,
            "left_out": self.left_out,
            "seconds": round(self.seconds, 1),
        }


def measured(section: Section, device: str, *, small: bool, end: float) -> Found:
    """Measure the rows of a section, until a time of the monotonic clock.

    A row that fails ends its process, since a GPU's state may be lost with it, and a new process
    measures the others. When the time is over, the process is killed, whatever it does.

    Args:
        section: the section.
        device: the device.
        small: whether shapes are tiny.
        end: when the time is over.
    """
    found, began = Found(section), time.monotonic()
    left = list(section.rows)
    while left and time.monotonic() < end:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        given = (section.measure, tuple(left), device, small, theirs)
        process = context.Process(target=_work, args=given)
        process.start()
        theirs.close()
        failed = False
        while left and not failed and ours.poll(max(0.0, end - time.monotonic())):
            try:
                row, numbers, fault = ours.recv()
            except EOFError:
                process.join()
                row, numbers = left[0], None
                fault = f"its process ended with exit code {process.exitcode}"
            left.remove(row)
            if numbers is None:
                found.faults[row], failed = fault, True
            else:
                found.numbers[row] = numbers
        _end(process)
        ours.close()
    found.left_out, found.seconds = left, time.monotonic() - began
    return found


def _work(
    measure: Measure, rows: Sequence[str], device: str, small: bool, results: Connection
) -> None:
    os.setsid()  # so that what it starts can be ended with it
    for row in rows:
        try:
            numbers = measure(row, device, small)
        except Exception as error:
            results.send((row, None, _one_line(error)))
            return
        results.send((row, numbers, None))


def _end(process: BaseProcess) -> None:
    """Kill a process and all that it has started."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):  # it has ended, or started nothing so far
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
