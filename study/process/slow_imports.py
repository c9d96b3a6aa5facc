"""Imports that take seconds: Ctrl-C leaves them at once, and no garbage is collected meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from study.process.ctrl_c import leaving_at_ctrl_c
from study.process.garbage import uncollected


@contextmanager
def slow_imports() -> Iterator[None]:
    """Load modules in a block; see `leaving_at_ctrl_c` and `uncollected`."""
    with leaving_at_ctrl_c(), uncollected():
        yield
