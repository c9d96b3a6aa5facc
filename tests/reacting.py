"""Signals that end a process, as in the foreground of a terminal."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def reacting() -> Iterator[None]:
    """Let no signal be ignored that was, as those of a terminal are in the background."""
    handlers: dict[signal.Signals, Any] = {
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    with ExitStack() as stack:
        for name, handler in handlers.items():
            stack.callback(signal.signal, name, signal.signal(name, handler))
        yield
