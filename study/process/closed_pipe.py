"""End a command without an error if the reader of its output, such as ``head``, is gone."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


def survive_closed_pipe(command: Callable[[], int]) -> int:
    """Call a function that prints; return its exit code, or that of SIGPIPE if the reader is gone.

    See "Note on SIGPIPE" in the documentation of Python's module `signal`.

    Raises:
        BrokenPipeError: another pipe or connection was closed.
    """
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _has_no_reader(sys.stdout):
            raise
        # At its end, Python would write the rest of the output, and fail again.
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _has_no_reader(stream: TextIO) -> bool:
    """Return whether a stream is a pipe whose reader is gone."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))
