"""Report the loss of Ray at once while a study runs; Ray itself would end or wait without a word.

The main thread then waits inside Ray, deaf to signals, until Ray ends the process without running
any Python code: a tenth of a second after the end of a process that Ray was started with, or a
minute after that of a cluster's head. Runs that are still open in MLflow are closed once the study
goes on, or by ``sync``.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from typing import Any, NoReturn

import ray
from rich.console import Console

from study.errors import INTERRUPTED
from study.search.ray_internals import (
    agents,
    kill_own_processes,
    own_processes,
    reconnects_within,
    started_here,
)
from study.storage.time_limit import call_within

EVERY = 1.0
"""The seconds between two looks at Ray."""
SET_BACK = 60.0
"""The seconds by which the clock may be set back.

Timers of Ray go by the clock of the day. They then stand still for as long, and with them whatever
waits for a place in the cluster.
"""
ANSWERS_WITHIN = 5.0
"""How many seconds the head of a cluster may take to answer one call."""
PART_OF_PATIENCE = 0.7
"""A study waits for the head of a cluster for this part of the time that Ray itself waits."""


@contextmanager
def exit_if_ray_is_lost(go_on: str) -> Iterator[None]:
    """Exit this process, after a message that says how to go on, if Ray is lost during the block.

    Args:
        go_on: the command that goes on with the study.
    """
    over = threading.Event()

    def watch(wait: Callable[[threading.Event], str | None]) -> None:
        loss = wait(over)
        if loss is not None and not over.is_set():
            _end(loss, go_on)

    lost = _wait_for_an_end if started_here() else _wait_for_silence
    for wait in (lost, _wait_for_clock):
        threading.Thread(target=watch, args=(wait,), name="lost-ray", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _wait_for_an_end(over: threading.Event) -> str | None:
    """Return a sentence on the process of our own Ray that has ended; None if all live.

    Args:
        over: set once it no longer matters.
    """
    processes = own_processes()
    ids = {name: process.pid for name, process in processes.items()}
    ids.update(agents())
    names: dict[Any, str] = {}
    if sys.platform == "linux":
        for name, pid in ids.items():
            with suppress(ProcessLookupError):
                names[os.pidfd_open(pid)] = name  # readable once the process has ended
    ended = None
    while ended is None and not over.is_set():
        for descriptor in connection.wait(names, EVERY):
            ended = names[descriptor]
        for name, process in processes.items():
            if process.poll() is not None:
                ended = name
    for descriptor in names:
        os.close(descriptor)
    if ended is None:
        return None
    return f"Ray's own process {ended} has ended"


def _wait_for_clock(over: threading.Event) -> str | None:
    """Return a sentence once the clock is set back by far; None if the watch is over.

    Args:
        over: set once it no longer matters.
    """
    furthest = -math.inf
    while not over.wait(EVERY):
        ahead = time.time() - time.monotonic()
        furthest = max(furthest, ahead)
        set_back = furthest - ahead
        if set_back > SET_BACK:
            return (
                f"this machine's clock was set back by {set_back:.0f} s, for which Ray stands still"
            )
    return None


def _wait_for_silence(over: threading.Event) -> str | None:
    """Return a sentence once the head of a cluster stays silent; None if the watch is over.

    Args:
        over: set once it no longer matters.
    """
    address = ray.get_runtime_context().gcs_address
    patience = PART_OF_PATIENCE * reconnects_within()  # another process may start the head again
    silent_since = None
    while not over.wait(EVERY):
        called_at = time.monotonic()
        try:
            call_within(ANSWERS_WITHIN, ray.nodes)
            silent_since = None
        except Exception:  # of Ray's own kinds
            # From the first silence, since a computer that slept has not listened either.
            silent_since = silent_since or called_at
            if time.monotonic() - silent_since > patience:
                return f"the head of Ray at {address} does not answer any more"
    return None


def _end(loss: str, go_on: str) -> NoReturn:
    """End the process as an interruption does; nothing can be asked of Ray, not even to end.

    Args:
        loss: what was lost of Ray, in words.
        go_on: the command that goes on with the study.
    """
    try:
        print(
            f"\nerror: the study was interrupted, since {loss}; to continue, run\n  {go_on}",
            file=sys.stderr,
            flush=True,
        )
        Console().show_cursor()  # a bar of progress hides it
        sys.stdout.flush()
    finally:  # nobody may read it any more
        kill_own_processes()  # where timers stand still, workers would go on training
        os._exit(INTERRUPTED)
