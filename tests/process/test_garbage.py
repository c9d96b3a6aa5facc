"""Garbage that is left alone while a process starts, and collected from then on."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from study.process.garbage import pause_collection, resume_collection
from study.search import driver


class Cycle:
    """Garbage, once nothing else knows of it."""

    def __init__(self):
        self.own = self


@pytest.fixture(autouse=True)
def _frozen() -> Iterator[None]:
    yield
    gc.freeze()  # as before these tests


def made() -> "weakref.ref[Cycle]":
    return weakref.ref(Cycle())


def test_what_is_made_in_the_block_stays_and_what_comes_later_is_collected():
    with pause_collection():
        early = made()
        assert not gc.isenabled()
        resume_collection()
        assert gc.isenabled()
        late = made()
    gc.collect()
    assert early() is not None
    assert late() is None


def test_a_block_that_fails_lets_go():
    with pytest.raises(ValueError, match="fault"), pause_collection():
        raise ValueError("fault")
    assert gc.isenabled()


def test_what_was_not_held_back_is_left_as_it_is():
    garbage = made()
    resume_collection()
    gc.collect()
    assert garbage() is None


FIRST = """
import weakref
from study.embedded import EMBEDDED, backbone_path
from study.process.garbage import resume_collection, pause_collection
from study.backbones.load_backbone import load_backbone

def check():
    backbone = load_backbone(backbone_path(EMBEDDED))
    return weakref.ref(backbone.clip)

with pause_collection():
    first = check()
    resume_collection()
    print(first() is None)
"""


@pytest.mark.long
def test_the_backbone_that_was_loaded_first_is_not_kept():
    command = [sys.executable, "-c", FIRST]
    assert subprocess.check_output(command, text=True) == "True\n"


def test_a_worker_begins_without_collecting(monkeypatch: pytest.MonkeyPatch):
    start = Mock()
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr(driver, "_shut_down", lambda: None)
    with driver.ray_session():
        options = start.call_args.kwargs
    assert options["runtime_env"] == {"worker_process_setup_hook": "gc.disable"}
