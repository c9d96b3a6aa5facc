"""Collect no garbage while a process starts, and exclude imported objects from later collections.

The imports of PyTorch, transformers, Ray and MLflow create a million objects, of which hardly any
becomes garbage. Python would examine them again and again. This takes a third of the time of the
imports, and makes every later collection slower.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collection() -> Iterator[None]:
    """Collect no garbage until `resume_collection` is called, or the block ends.

    Use it in this package's own processes only: garbage of the block is never collected.
    """
    gc.collect()  # there may be garbage since an earlier block
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
