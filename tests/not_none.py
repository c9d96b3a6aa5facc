"""A value that a test knows to be there, for those who check types."""

from typing import TypeVar

T = TypeVar("T")


def not_none(value: T | None) -> T:
    """Return a value that is not None."""
    assert value is not None
    return value
