"""A call gets the time that its caller has, and no more."""

import threading

import pytest

from study.storage.time_limit import call_within


def test_a_call_that_hangs_is_given_up_and_what_another_returns_or_raises_comes_through():
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        call_within(0.05, over.wait)
    over.set()
    assert call_within(20, lambda: "given") == "given"
    with pytest.raises(KeyboardInterrupt):
        call_within(20, interrupted)


def interrupted():
    raise KeyboardInterrupt
