"""Signals that ask a study to end, other than Ctrl-C, and output that nobody reads any more."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

logger = logging.getLogger(__name__)


class LastingConsole(Console):
    """A console whose reader may go away before the process ends.

    Ctrl-C ends ``tee`` as well, to which a study has yet to say how it is closed.
    """

    def on_broken_pipe(self) -> None:
        """Print nowhere from now on, where rich would end the process."""
        silence_streams(self.file.fileno())


def silence_streams(*streams: int) -> None:
    """Let nothing be printed by file descriptors any more, nor fail."""
    with Path(os.devnull).open("wb") as nothing:
        for stream in streams:
            os.dup2(nothing.fileno(), stream)


@contextmanager
def handle_hang_up(then: Callable[[], None]) -> Iterator[None]:
    """Call a function at SIGHUP, that of a closed terminal, and at SIGTERM, that of ``kill``.

    Both would end the process at once. One that is ignored stays so, as by ``nohup``. Elsewhere
    than in the main thread nothing is changed.
    """

    def hang_up(*_: object) -> None:
        silence_streams(
            *terminals
        )  # printing to one that is gone fails, and a study is yet to close
        then()

    terminals = [stream for stream in (1, 2) if os.isatty(stream)]
    handlers = {signal.SIGHUP: hang_up, signal.SIGTERM: lambda *_: then()}
    in_main_thread = threading.current_thread() is threading.main_thread()
    with ExitStack() as stack:
        for name, handler in handlers.items() if in_main_thread else ():
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


@contextmanager
def hold_back_signals() -> Iterator[None]:
    """Let a block end first that a closed terminal or ``kill`` asks for anyway.

    Raises:
        KeyboardInterrupt: one of them came meanwhile.
    """
    came = threading.Event()

    def note() -> None:
        heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        hint = "; Ctrl-C ends it without sending what is left" * heard
        logger.warning("the study is ending already%s", hint)
        came.set()

    with handle_hang_up(note):
        yield
    if came.is_set():
        interrupt()
