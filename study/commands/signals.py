"""Signals that ask a command to end as Ctrl-C does: that of a closed terminal, and ``kill``."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from study.commands.console import silence_streams


@contextmanager
def handle_signals(then: Callable[[], None]) -> Iterator[None]:
    """Call a function at SIGHUP and SIGTERM in the block; both would end the process at once.

    SIGHUP is the signal of a closed terminal, and SIGTERM that of ``kill``. A signal that is
    ignored, as by ``nohup``, stays ignored. Only the main thread may handle signals; elsewhere,
    nothing changes.
    """

    def hang_up(*_: object) -> None:
        # Printing to a terminal that is gone fails, and what is open must still be closed.
        silence_streams(*terminals)
        then()

    terminals = [stream for stream in (1, 2) if os.isatty(stream)]
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for name, handler in ((signal.SIGHUP, hang_up), (signal.SIGTERM, lambda *_: then())):
                if signal.getsignal(name) is not signal.SIG_IGN:
                    stack.callback(signal.signal, name, signal.signal(name, handler))
        yield


def interrupt() -> None:
    """React as to Ctrl-C.

    Raises:
        KeyboardInterrupt: unless Tune reacts, as it does while trials run.
    """
    # A shell starts a command that ends in & with Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
