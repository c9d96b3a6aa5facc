"""The loss of Ray while a study runs: noticed at once, where Ray itself would say so in a minute.

Until then the main thread waits inside Ray, deaf to signals; then Ray ends the process, and nothing
in Python is asked.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

from study.search.internals import own_processes, reconnects_within
from study.storage.network import silence

EVERY = 1.0
"""The seconds between two looks at Ray."""
SHUTS_DOWN_WITHIN = 30.0
"""How many seconds a Ray that works may take to end when it is asked to, on a busy machine."""
GIVES_UP_WITHIN = 5.0
"""How many seconds a Ray that was lost before it was asked to end may take."""
ANSWERS_WITHIN = 5.0
"""How many seconds the head of a cluster may take to answer one call."""
PATIENCE = 3.0
"""For how many seconds a Ray that this process started may be silent."""
PART = 0.7
"""The part of the time in which Ray waits for the head of a cluster that a study waits for it."""


@contextmanager
def ended_with_ray(end: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Call a function, once and from another thread, if Ray is lost during the block.

    Args:
        end: it gets what was lost, in words.

    Yields:
        What is to be called before Ray is shut down: then its processes end because they were asked
        to. But shutting down may also wait, and for long, for a Ray that is lost.
    """
    leaving, over = threading.Event(), threading.Event()
    watch = _Watch()
    patience = SHUTS_DOWN_WITHIN

    def leave() -> None:
        nonlocal patience
        if not watch.works():
            patience = GIVES_UP_WITHIN
        leaving.set()

    def look() -> None:
        while not over.wait(EVERY):
            lost = watch()
            if leaving.is_set():  # also while it looked, so that what it found is no loss
                if over.wait(patience):
                    return
                lost = watch()
            if lost:
                end(lost)
                return

    threading.Thread(target=look, name="lost-ray", daemon=True).start()
    try:
        yield leave
    finally:
        over.set()


class _Watch:
    """A watch on the processes of a Ray that this process started, and on the head of any Ray."""

    def __init__(self) -> None:
        self._address = ray.get_runtime_context().gcs_address
        # Another process may start the head of a cluster again.
        self._patience = PATIENCE if own_processes() else PART * reconnects_within()
        self._silent_since: float | None = None

    def works(self) -> bool:
        """Return whether its processes are there, and its head answers."""
        return self._ended() is None and self._answers()

    def __call__(self) -> str | None:
        """Return what was lost, if anything was."""
        if name := self._ended():
            return f"Ray's own process {name} has ended"
        # What was asked to end may stay, and accept no connection any more.
        if self._answers():
            self._silent_since = None
            return None
        # From its first silence, since a computer that slept has not listened either.
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since < self._patience:
            return None
        return f"the head of Ray at {self._address} does not answer any more"

    def _ended(self) -> str | None:
        return next((n for n, p in own_processes().items() if p.poll() is not None), None)

    def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        return silence(host.strip("[]"), int(port), ANSWERS_WITHIN) is None
