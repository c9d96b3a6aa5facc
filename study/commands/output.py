"""Output that is closed, full, of few characters, or that nobody reads any more.

None of these is an error of the package: a command says in one line that its output was lost, and a
study goes on.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

    from study.storage.study_folder import StudyFolder


class Output:
    """A text stream that keeps the last error of writing to it."""

    def __init__(self, stream: TextIO, *, lasting: bool) -> None:
        """Write to a stream.

        Args:
            stream: the stream.
            lasting: whether an error is not raised, but all further output is discarded.
        """
        self.fault: OSError | None = None
        self._stream = stream
        self._lasting = lasting

    def write(self, text: str) -> int:
        """Write text, and return its number of characters."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            self.fault = error
            if not self._lasting:
                raise
            silence_streams(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting_console(file: TextIO | None = None) -> "Console":
    """Return a console that keeps working when its reader ends, or its disk is full.

    Ctrl-C also ends ``tee``, while the study still has to be closed.
    """
    from rich.console import Console

    from study.report.terminal_table import PIPED

    output = Output(file or sys.stdout, lasting=True)
    width = None if sys.stdout.isatty() else PIPED
    # Paths may have brackets and colons, which are no markup.
    return Console(file=cast(TextIO, output), width=width, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """Print dataclasses or pydantic models as JSON, and numbers that are not finite as null."""
    from pydantic import TypeAdapter

    print(TypeAdapter(Any).dump_json(value, indent=2).decode())


def print_resume_commands(interrupted: Sequence["StudyFolder"]) -> None:
    """Print the commands that resume studies, one a line, without line breaks inside."""
    from study.report.terminal_table import print_unwrapped
    from study.storage.command_lines import study_command

    if interrupted:
        commands = [f"  {study_command('resume', folder.path)}" for folder in interrupted]
        print_unwrapped(lasting_console(), "\n".join(["to continue, run", *commands]))


class UsableOutput:
    """A block that prints, and whose exit code says if its output was lost.

    That is 2, with a message, or the code of SIGPIPE if the reader of the output is gone: see "Note
    on SIGPIPE" in the documentation of Python's module `signal`.
    """

    code = 2
    """The exit code, which the block sets."""

    def __enter__(self) -> Self:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # no file must get the number of a closed stream
                setattr(sys, name, Path(os.devnull).open(mode))
        if hasattr(sys.stdout, "reconfigure"):  # characters that it lacks become codes
            sys.stdout.reconfigure(errors="backslashreplace")
        self._output = Output(sys.stdout, lasting=False)
        self._redirection = redirect_stdout(cast(TextIO, self._output))
        self._redirection.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        output = self._output
        if error is None:
            try:
                output.flush()
            except OSError as fault:
                error = fault
        self._redirection.__exit__(None, None, None)
        if isinstance(error, BrokenPipeError) and error is output.fault:
            self.code = 128 + signal.SIGPIPE
        if output.fault is not None:
            # At its end, Python would write the rest of the output, and fail again.
            silence_streams(output.fileno())
            if not isinstance(output.fault, BrokenPipeError):
                cause = output.fault.strerror
                print(f"error: the output cannot be written: {cause}", file=sys.stderr)
                self.code = self.code or 2
        return error is not None and error is output.fault


def silence_streams(*streams: int) -> None:
    """Discard everything that is written to file descriptors from now on."""
    with Path(os.devnull).open("wb") as nothing:
        for stream in streams:
            os.dup2(nothing.fileno(), stream)
