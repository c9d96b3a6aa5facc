"""Imports that take seconds."""

import gc
import signal

from study.process.slow_imports import slow_imports


def test_modules_load_without_collections_and_ctrl_c_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with slow_imports():
        assert not gc.isenabled()
        assert signal.getsignal(signal.SIGINT) is not before
    assert gc.isenabled()
    assert signal.getsignal(signal.SIGINT) is before
    gc.unfreeze()
