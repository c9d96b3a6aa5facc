"""A limit of time for calls to what may never answer, such as a cluster, a server or a hub."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


def call_within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return the result of a call, but stop waiting after some seconds, unless these are None.

    A call that is too slow goes on in a thread that nothing waits for.

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


def first_cause(error: BaseException) -> BaseException:
    """Return the error that an error came from, through all the libraries in between."""
    cause = error
    while (earlier := cause.__cause__ or cause.__context__) is not None:
        cause = earlier
    return cause


def cause_of_silence(error: BaseException) -> str:
    """Return why nothing answered, in the words of the first cause."""
    cause = first_cause(error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
