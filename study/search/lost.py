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
SHUTS_DOWN_WITHIN = 5.0
"""How many seconds Ray's processes may take to end when they are asked to."""
ANSWERS_WITHIN = 5.0
"""How many seconds the head of a cluster may take to answer one call."""
PATIENCE = 3.0
"""For how many seconds a Ray that this process started may be silent."""
PART = 0.7
"""The part of the time in which Ray waits for the head of a cluster that a study waits for it."""


@contextmanager
def ended_with_ray(end: Callable[[str], None]) -> Iterator[threading.Event]:
    """Call a function, once and from another thread, if Ray is lost during the block.

    Args:
        end: it gets what was lost, in words.

    Yields:
        What is to be set before Ray is shut down, which may also wait for a Ray that is lost.
    """
    leaving, over = threading.Event(), threading.Event()
    watch = _Watch()

    def look() -> None:
        while not over.wait(SHUTS_DOWN_WITHIN if leaving.is_set() else EVERY):
            if lost := watch():
                end(lost)
                return

    threading.Thread(target=look, name="lost-ray", daemon=True).start()
    try:
        yield leaving
    finally:
        over.set()


class _Watch:
    """A watch on the processes of a Ray that this process started, and on the head of any Ray."""

    def __init__(self) -> None:
        self._address = ray.get_runtime_context().gcs_address
        # Another process may start the head of a cluster again.
        self._patience = PATIENCE if own_processes() else PART * reconnects_within()
        self._silent_since: float | None = None

    def __call__(self) -> str | None:
        """Return what was lost, if anything was."""
        for name, process in own_processes().items():
            if process.poll() is not None:
                return f"Ray's own process {name} has ended"
        # What was asked to end may stay, and accept no connection any more.
        host, _, port = self._address.rpartition(":")
        if silence(host.strip("[]"), int(port), ANSWERS_WITHIN) is None:
            self._silent_since = None
            return None
        # From its first silence, since a computer that slept has not listened either.
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since < self._patience:
            return None
        return f"the head of Ray at {self._address} does not answer any more"
