"""What a check finds, and its output: the faults, warnings and facts as text or as JSON."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from study.errors import Fault, FaultsError, StudyError, redacted_text

if TYPE_CHECKING:
    from rich.console import Console

    from study.commands.estimate import Estimate


@dataclass(frozen=True)
class Fact:
    """Something that a study would work on."""

    name: str
    text: str


@dataclass(frozen=True)
class CheckResult:
    """What ``--check`` finds."""

    faults: Sequence[Fault] = ()
    """Why the study cannot start."""
    warnings: Sequence[str] = ()
    """What is allowed, but may not be intended."""
    facts: Sequence[Fact] = ()
    estimate: "Estimate | None" = None


def print_check(check: Callable[[], CheckResult], *, as_json: bool) -> None:
    """Print what a check finds.

    Args:
        check: the check, which returns faults or raises them.
        as_json: whether to print a JSON document.

    Raises:
        StudyError: there are faults, which are in the document as well.
    """
    error: StudyError | None = None
    try:
        result = check()
        if result.faults:
            error = FaultsError("the study cannot start,", result.faults)
    except FaultsError as several:
        result, error = CheckResult(several.faults), several
    except StudyError as one:
        result, error = CheckResult([Fault("", str(one))]), one
    if as_json:
        from study.commands.json_output import print_json

        faults = [replace(fault, message=redacted_text(fault.message)) for fault in result.faults]
        print_json(replace(result, faults=faults))
    else:
        _print_text(result)
    if error:
        raise error


def _print_text(result: CheckResult) -> None:
    from study.commands.signals import LastingConsole
    from study.process.terminal_table import print_sentences

    console = LastingConsole()
    if result.facts:
        print_facts(result.facts, console)
    if result.estimate:
        print_sentences(console, str(result.estimate))
    if not result.faults:
        text = "all is well: configuration, data, backbone, storage and tracking server"
        print_sentences(console, text)
    print_warnings(result.warnings, console)


def print_facts(facts: Sequence[Fact], console: "Console") -> None:
    """Print facts, a line each."""
    from study.process.terminal_table import TerminalTable

    rows = [(fact.name, fact.text) for fact in facts]
    console.print(TerminalTable(["", ""], rows, words=2, lines=False), highlight=False)


def print_warnings(warnings: Iterable[str], console: "Console") -> None:
    """Print warnings, a line each."""
    from study.process.terminal_table import print_sentences

    for warning in warnings:
        print_sentences(console, warning, "yellow")
