"""Output that is closed, full, of few characters, or that nobody reads any more.

None of these is an error of the package: a command continues without output, and its exit code says
at the end that its output was lost.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


class TolerantStream:
    """A text stream that keeps an error of writing to it, and discards all further output."""

    def __init__(self, stream: TextIO) -> None:
        self.fault: OSError | None = None
        self._stream = stream

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
            silence_streams(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def output_console() -> "Console":
    """Return a console of the standard output that prints text as it is, without markup."""
    from rich.console import Console

    from study.report.terminal import PIPED

    width = None if sys.stdout.isatty() else PIPED
    # Paths may have brackets and colons, which are no markup.
    return Console(width=width, markup=False, emoji=False, highlight=False)


def track(items: Iterable[T], title: str, total: int) -> Iterable[T]:
    """Return items that move a bar on the error output as they are taken, if it is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    disable = not console.is_terminal  # rich would write an empty line
    return track(items, title, total, console=console, transient=True, disable=disable)


def print_json(value: Any) -> None:
    """Print dataclasses or pydantic models as JSON, and numbers that are not finite as null."""
    from pydantic import TypeAdapter

    print(TypeAdapter(Any).dump_json(value, indent=2).decode())


def run_with_output(command: Callable[[], int]) -> int:
    """Run a command that prints, and return its exit code, which says if its output was lost.

    That is 2, with a message, or the code of SIGPIPE if the reader of the output is gone: see "Note
    on SIGPIPE" in the documentation of Python's module `signal`.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # no file must get the number of a closed stream
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 -- stays open
    if hasattr(sys.stdout, "reconfigure"):  # characters that it lacks become codes
        sys.stdout.reconfigure(errors="backslashreplace")
    output = TolerantStream(sys.stdout)
    with redirect_stdout(cast(TextIO, output)):
        try:
            code = command()
        finally:  # Ctrl-C ends the reader of the output as well
            output.flush()
    if output.fault is None:
        return code
    if isinstance(output.fault, BrokenPipeError):
        return 128 + signal.SIGPIPE
    print(f"error: the output cannot be written: {output.fault.strerror}", file=sys.stderr)
    return code or 2


def silence_streams(*streams: int) -> None:
    """Discard everything that is written to file descriptors from now on."""
    with Path(os.devnull).open("wb") as nothing:
        for stream in streams:
            os.dup2(nothing.fileno(), stream)
