"""A call that hangs or fails is given up, and told in one line without its password."""

import threading

import pytest

from study.errors import TrackingError
from study.tracking.calls import first_line, within

SECRET = "s3cr3t-passw0rd"


def test_a_call_that_hangs_is_given_up_and_what_others_give_or_raise_comes_through() -> None:
    answers = threading.Event()
    with pytest.raises(TrackingError, match="no answer within 0 s"):
        within(0.05, answers.wait)
    answers.set()
    assert within(20, lambda: "given") == "given"
    with pytest.raises(ZeroDivisionError):
        within(20, lambda: 1 / 0)


def test_an_error_is_one_line_without_its_password() -> None:
    told = first_line(ValueError(f"cannot open db://me:{SECRET}@host\n[SQL: SELECT 1]"))
    assert told.startswith("ValueError: cannot open db://")
    assert SECRET not in told
    assert "SQL" not in told
    assert first_line(ValueError()) == "ValueError: ValueError()"
