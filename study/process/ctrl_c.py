"""Handle Ctrl-C while modules load, before anything runs that must be closed.

An interrupt during an import would print a traceback of that import, or the import would suppress
it. So the interrupt ends the process with one line.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_at_ctrl_c() -> Iterator[None]:
    """End the process at Ctrl-C in the block, unless Ctrl-C is ignored or has another handler."""
    has_default_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not has_default_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(*_: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + signal.SIGINT)
