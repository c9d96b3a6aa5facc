"""Signals other than Ctrl-C that ask a study to end, and output whose reader has gone."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO, cast

from rich.console import Console

from study.process.output import Output, silence_streams
from study.process.terminal_table import PIPED

logger = logging.getLogger(__name__)


class LastingConsole(Console):
    """A console that keeps working when its reader ends before the process, or its disk is full.

    Ctrl-C also ends ``tee``, while the study still has to be closed. Output that is no terminal has
    `PIPED` columns.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        width = None
        if not sys.stdout.isatty():
            width = PIPED
        output = Output(file or sys.stdout, lasting=True)
        # Paths may have brackets and colons, which are no markup.
        super().__init__(file=cast(TextIO, output), width=width, markup=False, emoji=False)


@contextmanager
def handle_hang_up(then: Callable[[], None]) -> Iterator[None]:
    """Call a function at SIGHUP, that of a closed terminal, and at SIGTERM, that of ``kill``.

    Both would end the process at once. A signal that is ignored, as by ``nohup``, stays ignored. In
    a thread other than the main one, nothing is changed.
    """

    def hang_up(*_: object) -> None:
        # Printing to a terminal that is gone fails, and the study must still be closed.
        silence_streams(*terminals)
        then()

    terminals = [stream for stream in (1, 2) if os.isatty(stream)]
    handlers: dict[signal.Signals, Callable[..., None]] = {
        signal.SIGHUP: hang_up,
        signal.SIGTERM: lambda *_: then(),
    }
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    with ExitStack() as stack:
        for name, handler in handlers.items():
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
def hold_back_signals(notice: str) -> Iterator[None]:
    """Let the block finish before a closed terminal or ``kill`` ends the study.

    Args:
        notice: what is logged when one of these signals arrives.

    Raises:
        KeyboardInterrupt: one of these signals arrived during the block.
    """
    arrived = threading.Event()

    def warn() -> None:
        message = notice
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            message += "; Ctrl-C ends it without sending what is left"
        logger.warning(message)
        arrived.set()

    with handle_hang_up(warn):
        yield
    if arrived.is_set():
        interrupt()
