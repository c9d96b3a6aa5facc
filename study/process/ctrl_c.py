"""Ctrl-C while modules load, when nothing has begun that must be closed.

An interrupt in the middle of an import would end in a traceback of that import, or be swallowed by
it. So it ends the process, with one line.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_at_ctrl_c() -> Iterator[None]:
    """End the process at Ctrl-C during the block, unless Ctrl-C is ignored or heard elsewhere."""
    heard_by_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not heard_by_python or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + signal.SIGINT)
