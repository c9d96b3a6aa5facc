"""Imports that take seconds: Ctrl-C leaves them at once, and no garbage is collected meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from study.process.ctrl_c import exit_at_ctrl_c
from study.process.garbage import pause_collection


@contextmanager
def slow_imports() -> Iterator[None]:
    """Load modules in a block; see `exit_at_ctrl_c` and `pause_collection`."""
    with exit_at_ctrl_c(), pause_collection():
        yield
