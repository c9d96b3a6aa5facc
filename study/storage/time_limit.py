"""A time limit for calls to a cluster, a server or a hub, which may never answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call, but wait at most some seconds.

    A call that is too slow continues in a thread that nothing waits for.

    Raises:
        TimeoutError: the call did not end in time.
        Exception: whatever the call raised.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="call-within", daemon=True).start()
    if not wait([answer], seconds).done:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answer.result()
