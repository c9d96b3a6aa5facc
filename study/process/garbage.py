"""No collection of garbage while a process starts, nor later among what it has imported.

PyTorch, transformers, Ray and MLflow make a million objects as they are imported, and hardly any of
them is garbage. Python would look through them again and again, which takes a third of the time of
the imports, and afterwards whenever it collects.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collection() -> Iterator[None]:
    """Collect nothing until `resume_collection` is called, or the block ends.

    It is for processes of this package's own: what becomes garbage meanwhile is never collected.
    """
    if _Collection.was_resumed:  # what came since may be garbage
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        resume_collection()


def resume_collection() -> None:
    """Collect again, if that was held back, among what comes from now on."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
        _Collection.was_resumed = True


class _Collection:
    """What Python does not say of its collection, which all of a process shares."""

    was_resumed = False
    """Whether objects are frozen. `gc.get_freeze_count` counts them one by one: 0.2 seconds."""
