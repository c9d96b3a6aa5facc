"""What a check finds, and its output: the faults, warnings and facts as text or as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from study.commands.console import output_console, print_json
from study.errors import Fault, FaultsError, StudyError, redacted_text

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Fact:
    """Something that a study would work on."""

    name: str
    text: str


@dataclass(frozen=True)
class Estimate:
    """How long a study takes. Times are of the whole study on this machine, and not of a trial."""

    search_seconds: float
    """The time of the search, if successive halving stops as many trials as it should.

    At most ``search.minutes``, unless the baselines alone take longer."""
    test_seconds: float
    final_seconds: float
    """The time of the training of the final model, and of its test; 0 where there is none."""
    training_seconds: float
    """The sum of these."""
    wall_seconds: float
    """The time from the start to the report: training, and the start of processes."""
    trials: int
    """The number of trials of all steps."""
    trials_at_once: int
    step_seconds: float
    image_seconds: float
    memory_bytes: int
    """The memory of a trial."""

    def __str__(self) -> str:
        """Return the estimate in sentences: wall time, training time, and the parts of that."""
        from rich.filesize import decimal

        from study.report.formatting import duration
        from study.report.terminal import amount

        return (
            f"about {duration(self.wall_seconds)} on this machine, of which "
            f"{duration(self.training_seconds)} train {amount(self.trials, 'trial')}, "
            f"{self.trials_at_once} at once: {duration(self.search_seconds)} for the search, "
            f"{duration(self.test_seconds)} for the test, {duration(self.final_seconds)} for the "
            f"final model. Measured: {1000 * self.step_seconds:.0f} ms for a training step of "
            f"CLIPFit, {1000 * self.image_seconds:.1f} ms for the evaluation of an image, "
            f"{decimal(self.memory_bytes)} of memory for a trial"
        )


@dataclass(frozen=True)
class CheckResult:
    """What ``--check`` finds."""

    faults: Sequence[Fault] = ()
    """Why the study cannot start."""
    warnings: Sequence[str] = ()
    """What is allowed, but may not be intended."""
    facts: Sequence[Fact] = ()
    estimate: Estimate | None = None


def print_check(check: Callable[[], CheckResult], *, as_json: bool) -> None:
    """Print what a check finds.

    Args:
        check: the check, which raises the faults.
        as_json: whether to print a JSON document.

    Raises:
        StudyError: there are faults, which are in the document as well.
    """
    try:
        result = check()
    except StudyError as error:
        faults = error.faults if isinstance(error, FaultsError) else [Fault("", str(error))]
        if as_json:
            texts = [replace(one, message=redacted_text(one.message)) for one in faults]
            print_json(CheckResult(texts))
        raise
    if as_json:
        print_json(result)
        return
    from study.report.terminal import print_sentences

    console = output_console()
    print_facts(result.facts, console)
    if result.estimate:
        print_sentences(console, str(result.estimate))
    text = "all is well: configuration, data, backbone, storage and tracking server"
    print_sentences(console, text)
    print_warnings(result.warnings, console)


def print_facts(facts: Sequence[Fact], console: "Console") -> None:
    """Print facts, a line each."""
    from study.report.tables import plain_table

    if facts:
        rows = [(fact.name, fact.text) for fact in facts]
        console.print(plain_table(("", ""), rows))


def print_warnings(warnings: Sequence[str], console: "Console") -> None:
    """Print warnings, a line each."""
    from study.report.terminal import print_sentences

    for warning in warnings:
        print_sentences(console, warning, "yellow")
