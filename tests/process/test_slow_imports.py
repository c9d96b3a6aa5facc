"""Imports that take seconds."""

import gc
import signal
from collections.abc import Iterator

import pytest

from study.process.slow_imports import slow_imports


@pytest.fixture
def heard() -> Iterator[None]:
    """Let Ctrl-C be heard, which a shell's background process ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_modules_load_without_collections_and_ctrl_c_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with slow_imports():
        assert not gc.isenabled()
        assert signal.getsignal(signal.SIGINT) is not before
    assert gc.isenabled()
    assert signal.getsignal(signal.SIGINT) is before
