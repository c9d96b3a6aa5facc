"""Calls to a tracker, which may hang or fail without harm to a study."""

import threading
from collections.abc import Callable
from typing import TypeVar

from study.errors import TrackingError, redacted_text

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call, but stop waiting after some seconds.

    A server that hangs must not block a study. A call that is too slow goes on in a thread that
    nothing waits for.

    Raises:
        TrackingError: the call did not end in time.
        Exception: whatever the call raised.
    """
    results: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="tracker-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not results:
        raise TrackingError(f"no answer within {seconds:.0f} s")
    return results[0]


def first_line(error: Exception) -> str:
    """Return an error as one short line without passwords; database errors can fill a screen."""
    text = redacted_text(str(error).strip() or repr(error))
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}"
