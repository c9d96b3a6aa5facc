"""The loss of Ray while a study runs: noticed at once, where Ray itself would say so in a minute.

Until then the main thread waits inside Ray, deaf to signals; then Ray ends the process, and nothing
in Python is asked. Where a process of a Ray that this one has started ends, Ray may do so within a
tenth of a second.
"""

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

import ray

from study.search.internals import agents, own_processes, reconnects_within
from study.storage.within import call_within

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
def ended_with_ray(end: Callable[[str, bool], None]) -> Iterator[Callable[[], None]]:
    """Call a function, once and from another thread, if Ray is lost during the block.

    Args:
        end: it gets what was lost, in words, and whether Ray may end this process at any moment.

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
        with watch:
            while not over.is_set():
                lost = watch()
                if leaving.is_set():  # also while it looked, so that what it found is no loss
                    if over.wait(patience):
                        return
                    lost = watch()
                if lost:
                    end(lost, not watch.silent)
                    return
                watch.wait(EVERY)

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
        self._names: dict[int, str] = {}
        """The names of processes by the descriptors that can be read once they have ended."""

    def __enter__(self) -> Self:
        own = {name: process.pid for name, process in own_processes().items()}
        for name, pid in {**own, **agents()}.items() if sys.platform == "linux" else ():
            with suppress(ProcessLookupError):
                self._names[os.pidfd_open(pid)] = name
        return self

    def __exit__(self, *_: object) -> None:
        while self._names:
            os.close(self._names.popitem()[0])

    def wait(self, seconds: float) -> str | None:
        """Wait this long, or until a process has ended; return its name where the system tells."""
        if not self._names:
            time.sleep(seconds)
            return None
        ends = select.poll()
        for descriptor in self._names:
            ends.register(descriptor, select.POLLIN)
        return next((self._names[descriptor] for descriptor, _ in ends.poll(1000 * seconds)), None)

    @property
    def silent(self) -> bool:
        """Whether a head that is silent is all that was lost."""
        return self._ended() is None

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
        for name, process in own_processes().items():
            if process.poll() is not None:
                return name
        return self.wait(0)

    def _answers(self) -> bool:
        try:
            call_within(ANSWERS_WITHIN, ray.nodes)
        except Exception:  # of Ray's own kinds
            return False
        return True
