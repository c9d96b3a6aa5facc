"""Output that is closed, full, of few characters, or that nobody reads any more.

None of these is an error of the package: a command says in one line that its output was lost, and a
study goes on.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast


class Output:
    r"""A text stream that keeps the last error of writing to it.

    Characters that its encoding lacks are written as codes, such as ``\u2212``.
    """

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
        encoding = self._stream.encoding or "utf-8"
        encodable = text.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda: self._stream.write(encodable))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one by one."""
        for line in lines:
            self.write(line)

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


@contextmanager
def usable_output() -> Iterator[None]:
    """Let the block print; end the process by an exit code of its own if its output is lost.

    Raises:
        SystemExit: output was lost. The code is 2, with a message, or that of SIGPIPE if the reader
            of the output is gone: see "Note on SIGPIPE" in Python's documentation of `signal`.
    """
    _open_closed_streams()
    output = Output(sys.stdout, lasting=False)
    try:
        with redirect_stdout(cast(TextIO, output)):
            try:
                yield
            finally:
                output.flush()
    except OSError as error:
        if error is not output.fault:
            raise
        silence_streams(output.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(128 + signal.SIGPIPE) from error
    if output.fault is None:
        return
    # At its end, Python would write the rest of the output, and fail again.
    silence_streams(output.fileno())
    if not isinstance(output.fault, BrokenPipeError):
        print(f"error: the output cannot be written: {output.fault.strerror}", file=sys.stderr)
        raise SystemExit(2)


def _open_closed_streams() -> None:
    """Open streams that the process was started without, so that no file takes their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def silence_streams(*streams: int) -> None:
    """Discard everything that is written to file descriptors from now on."""
    with Path(os.devnull).open("wb") as nothing:
        for stream in streams:
            os.dup2(nothing.fileno(), stream)
