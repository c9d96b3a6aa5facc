"""Calls to a tracker, which may hang or fail without harm to a study."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
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
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="tracker-call", daemon=True).start()
    if not wait([answer], seconds).done:
        raise TrackingError(f"no answer within {seconds:.0f} s")
    return answer.result()


def first_line(error: Exception) -> str:
    """Return an error as one short line without passwords; database errors can fill a screen."""
    text = redacted_text(str(error).strip() or repr(error))
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}"
