"""Collect no garbage while a process starts, and exclude imported objects from later collections.

The imports of PyTorch, transformers, Ray and MLflow create a million objects, of which hardly any
becomes garbage. Python would examine them again and again. This takes a third of the time of the
imports, and makes every later collection slower.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collection() -> Iterator[None]:
    """Collect no garbage until `resume_collection` is called, or the block ends.

    Use it in this package's own processes only: garbage of the block is never collected.
    """
    if _Collection.was_resumed:  # there may be garbage since then
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        resume_collection()


def resume_collection() -> None:
    """Collect garbage again, if that was paused, among the objects created from now on."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
        _Collection.was_resumed = True


def unfreeze_for_triton() -> None:
    """Let objects be freed at the exit of a process that has loaded Triton, as PyTorch does.

    Triton would print that objects which are still frozen have leaked. To free them takes about a
    second, which other processes do without.
    """
    if "triton" in sys.modules:
        gc.unfreeze()


class _Collection:
    """The state of the process's collection that Python does not report."""

    was_resumed = False
    """Whether objects are frozen. `gc.get_freeze_count` would count them in 0.2 seconds."""
