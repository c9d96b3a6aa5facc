"""Output that nobody reads any more, such as that of a command whose reader is ``head``."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


def survive_closed_pipe(do: Callable[[], int]) -> int:
    """Do something that prints, and return its exit code; that of SIGPIPE if nobody reads it.

    See "Note on SIGPIPE" in the documentation of Python's module `signal`.

    Raises:
        BrokenPipeError: another pipe or connection has broken.
    """
    try:
        try:
            return do()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread(sys.stdout):
            raise
        # Python would write what is left of it when it ends, and fail again.
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _is_unread(stream: TextIO) -> bool:
    """Return whether a stream is a pipe whose reader has gone."""
    look = select.poll()
    look.register(stream.fileno(), 0)
    return bool(look.poll(0))
