"""Report the loss of Ray at once while a study runs; Ray itself would end or wait without a word.

The main thread then waits inside Ray, deaf to signals, until Ray ends the process without running
any Python code: a tenth of a second after the end of a process that Ray was started with, or a
minute after that of a cluster's head. Runs that are still open in MLflow are closed once the study
goes on, or by ``sync``.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import ray
from rich.console import Console

from study.errors import INTERRUPTED
from study.search.ray_internals import kill_own_processes, own_processes
from study.storage.time_limit import call_within

EVERY = 1.0
"""The seconds between two looks at the clock and at the head of a cluster."""
ANSWERS_WITHIN = 5.0
"""How many seconds the head of a cluster may take to answer one call."""
PATIENCE = 42.0
"""The seconds for which a cluster's head may be silent; another process may start it again.

After 60 s, Ray itself ends this process.
"""
SET_BACK = 60.0
"""The seconds by which the clock may be set back.

Timers of Ray go by the clock of the day. They then stand still for as long, and with them whatever
waits for a place in the cluster.
"""


@contextmanager
def exit_if_ray_is_lost(resume_command: str) -> Iterator[None]:
    """Exit this process, after a message that says how to go on, if Ray is lost during the block.

    Args:
        resume_command: the command that continues the study.
    """
    over = threading.Event()

    def watch(wait: Callable[[], object], loss: str) -> None:
        wait()
        if not over.is_set():
            over.set()  # what ends next is no other loss
            _end(loss, resume_command)

    own = own_processes()
    watches: list[tuple[Callable[[], object], str]] = [
        (partial(_wait_for_clock, over), "the clock was set back, which stops Ray"),
        *((process.wait, "one of Ray's processes ended") for process in own),
    ]
    if not own:
        silence = "the head of the Ray cluster no longer responds"
        watches.append((partial(_wait_for_silence, over), silence))
    for arguments in watches:
        threading.Thread(target=watch, args=arguments, name="lost-ray", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _wait_for_clock(over: threading.Event) -> None:
    """Return once the clock was set back by far, or the watch is over."""
    furthest = ahead = time.time() - time.monotonic()
    while furthest - ahead <= SET_BACK and not over.wait(EVERY):
        ahead = time.time() - time.monotonic()
        furthest = max(furthest, ahead)


def _wait_for_silence(over: threading.Event) -> None:
    """Return once the head of a cluster stays silent, or the watch is over."""
    silent_since = None
    while not over.wait(EVERY):
        called_at = time.monotonic()
        try:
            call_within(ANSWERS_WITHIN, ray.nodes)
            silent_since = None
        except Exception:  # of Ray's own kinds
            # From the first silence, since a computer that slept has not listened either.
            silent_since = silent_since or called_at
            if time.monotonic() - silent_since > PATIENCE:
                return


def _end(loss: str, resume_command: str) -> None:
    """End the process as an interruption does; nothing can be asked of Ray, not even to end.

    Args:
        loss: what was lost of Ray, in words.
        resume_command: the command that continues the study.
    """
    try:
        print(
            f"\nerror: the study was interrupted, because {loss}; to continue, run\n"
            f"  {resume_command}",
            file=sys.stderr,
            flush=True,
        )
        Console().show_cursor()  # a bar of progress hides it
        sys.stdout.flush()
    finally:  # nobody may read it any more
        kill_own_processes()  # where timers stand still, workers would go on training
        os._exit(INTERRUPTED)
