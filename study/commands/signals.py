"""Signals that ask a command to end: Ctrl-C, a closed terminal, and ``kill``."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from study.commands.console import silence_streams


@contextmanager
def exit_at_ctrl_c() -> Iterator[None]:
    """End the process with one line at Ctrl-C in the block, where nothing must be closed.

    An interrupt during an import would print a traceback of that import, or the import would
    suppress it. Nothing changes if Ctrl-C is ignored or has another handler.
    """
    handlers = {}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = _exit
    with _handlers(handlers):
        yield


@contextmanager
def handle_signals(then: Callable[[], None]) -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C in the block, and call a function at other signals.

    These are SIGHUP, that of a closed terminal, and SIGTERM, that of ``kill``; both would end the
    process at once. A signal that is ignored, as by ``nohup``, stays ignored.
    """

    def hang_up(*_: object) -> None:
        # Printing to a terminal that is gone fails, and what is open must still be closed.
        silence_streams(*terminals)
        then()

    terminals = [stream for stream in (1, 2) if os.isatty(stream)]
    handlers = {signal.SIGHUP: hang_up, signal.SIGTERM: lambda *_: then()}
    if signal.getsignal(signal.SIGINT) is _exit:
        handlers[signal.SIGINT] = signal.default_int_handler
    with _handlers(handlers):
        yield


@contextmanager
def _handlers(handlers: dict[signal.Signals, Callable[..., Any]]) -> Iterator[None]:
    """Handle signals during the block, if it runs in the main thread, which alone may do so."""
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    with ExitStack() as stack:
        for name, handler in handlers.items():
            if signal.getsignal(name) is not signal.SIG_IGN:
                stack.callback(signal.signal, name, signal.signal(name, handler))
        yield


def _exit(*_: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + signal.SIGINT)


def interrupt() -> None:
    """React as to Ctrl-C.

    Raises:
        KeyboardInterrupt: unless Tune reacts, as it does while trials run.
    """
    # A shell starts a command that ends in & with Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
