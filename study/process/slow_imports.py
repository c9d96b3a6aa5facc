"""Imports that take seconds: Ctrl-C ends them at once, and they collect no garbage."""

from collections.abc import Iterator
from contextlib import contextmanager

from study.process.ctrl_c import exit_at_ctrl_c
from study.process.garbage import pause_collection


@contextmanager
def slow_imports() -> Iterator[None]:
    """Load slow modules in the block; see `exit_at_ctrl_c` and `pause_collection`."""
    with exit_at_ctrl_c(), pause_collection():
        yield
