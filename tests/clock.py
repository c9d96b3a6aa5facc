"""A clock that only a test moves, so that no machine is too slow or too fast for it."""

from collections.abc import Callable, Mapping


class Clock:
    """What a module reads of `time`, in its place: sleeping moves the clock and takes no time.

    Args:
        at: what happens as the clock passes a second, by that second.
    """

    def __init__(self, at: Mapping[float, Callable[[], object]] | None = None):
        self.now = 100.0
        self._at = {self.now + second: event for second, event in (at or {}).items()}

    def monotonic(self) -> float:
        """Return the present second."""
        return self.now

    def after(self, seconds: float, event: Callable[[], object]):
        """Let something happen once so many seconds have passed."""
        self._at[self.now + seconds] = event

    def sleep(self, seconds: float):
        """Let seconds pass, and what is to happen in them happen."""
        self.now += seconds
        for second in sorted(self._at):
            if second <= self.now:
                self._at.pop(second)()
