"""What a check finds, as one JSON document in the place of printed lines."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from study.errors import StudyError, redacted_text
from study.process.terminal_table import TerminalTable


@contextmanager
def printed_as_json(options: Namespace) -> Iterator[None]:
    """Print what a check in the block finds as a JSON document, if ``--json`` asks for that.

    Faults are in the document, and are raised as well.
    """
    if not options.json:
        yield
        return
    console = options.console = KeepingConsole()
    try:
        yield
    except StudyError as error:
        faults = getattr(error, "faults", [str(error)])
        _print(console, options, [redacted_text(fault) for fault in faults])
        raise
    _print(console, options, [])


class KeepingConsole(Console):
    """A console that keeps what a check prints."""

    def __init__(self) -> None:
        super().__init__(stderr=True)
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.rows: list[Sequence[str]] = []

    def print(self, *objects: Any, **options: Any) -> None:
        """Keep sentences, those in yellow as warnings, and the rows of tables."""
        for printed in objects:
            if isinstance(printed, TerminalTable):
                self.rows += printed.rows
            elif isinstance(printed, str) and options.get("style") == "yellow":
                self.warnings.append(printed)
            elif isinstance(printed, str):
                self.notes.append(printed)


def _print(console: KeepingConsole, options: Namespace, faults: Sequence[str]) -> None:
    from study.commands.json_output import print_json

    estimate = None
    if not isinstance(options.estimate, bool):  # it was measured
        estimate = options.estimate.values()
    values = {
        "ok": not faults,
        "faults": faults,
        "warnings": console.warnings,
        "notes": console.notes,
        "facts": [{"word": word, "text": text} for word, text in console.rows],
        "estimate": estimate,
    }
    print_json(values)
