"""End a command without an error if the reader of its output, such as ``head``, is gone."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path


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
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if not poll.poll(0):  # it is no pipe, or its reader is there
            raise
        # At its end, Python would write the rest of the output, and fail again.
        silence_streams(sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def silence_streams(*streams: int) -> None:
    """Discard everything that is written to file descriptors from now on."""
    with Path(os.devnull).open("wb") as nothing:
        for stream in streams:
            os.dup2(nothing.fileno(), stream)
