"""Whole files or none."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage import atomic
from study.storage.atomic import StorageError, write_atomically
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which storage is waited for."""
    clock = Clock()
    monkeypatch.setattr(atomic, "time", clock)
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 60.0)
    return clock


def test_names_of_errors_that_macos_lacks_are_not_needed():
    child = (
        "import errno; vars(errno).pop('EREMOTEIO', None); "
        "from study.storage.atomic import UNREACHABLE; assert errno.EIO in UNREACHABLE"
    )
    subprocess.run([sys.executable, "-c", child], check=True)


def test_a_file_is_replaced(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, "nüw")
    assert path.read_text() == "nüw"
    write_atomically(path, b"\xff")
    assert path.read_bytes() == b"\xff"


@pytest.mark.parametrize(
    "failing, code",
    [
        ("os.fsync", errno.EFBIG),
        ("pathlib.Path.replace", errno.EACCES),
        ("pathlib.Path.open", errno.EROFS),
    ],
)
def test_what_fails_for_good_is_told_at_once_and_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, failing: str, code: int
):
    path = tmp_path / "file"
    write_atomically(path, "old")
    began = clock.now

    def fail(*_: object):
        raise OSError(code, "it may not be")

    with monkeypatch.context() as forbidden:
        forbidden.setattr(failing, fail)
        with pytest.raises(StorageError, match=f"{path} cannot be used: it may not be"):
            write_atomically(path, "new")
    assert clock.now == began
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[bool]:
    """Storage that is full as long as it is told to be, of a process that has not waited yet."""
    state = [True]

    def fsync(_: int):
        if state[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    return state


def seconds_to_fail(path: Path, clock: Clock) -> float:
    begun = clock.now
    with pytest.raises(StorageError, match=r"nor could it within 60 seconds: No space left"):
        write_atomically(path, "x")
    return clock.now - begun


@pytest.mark.usefixtures("full")
def test_an_outage_is_waited_for_once_however_much_fails_and_the_next_one_again(
    tmp_path: Path, clock: Clock
):
    assert 60 < seconds_to_fail(tmp_path / "one", clock) <= 60 + atomic.RETRY_SECONDS
    assert [seconds_to_fail(tmp_path / name, clock) for name in "abcde"] == [0] * 5
    clock.now += atomic.RECOVERS_WITHIN + 1
    assert seconds_to_fail(tmp_path / "two", clock) > 60


def test_what_could_be_written_in_the_end_ends_the_outage(
    tmp_path: Path, clock: Clock, full: list[bool]
):
    clock.after(30.0, lambda: full.__setitem__(0, False))
    write_atomically(tmp_path / "one", "x")
    assert clock.now >= 130
    full[0] = True
    assert seconds_to_fail(tmp_path / "two", clock) > 60


@pytest.mark.usefixtures("full")
def test_who_gives_up_does_not_wait(tmp_path: Path, clock: Clock):
    atomic.stop_waiting()
    assert seconds_to_fail(tmp_path / "one", clock) <= atomic.RETRY_SECONDS
