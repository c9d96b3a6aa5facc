"""Whole files or none, and checksums by which damage shows and a crash around a write does not."""

import errno
import os
from pathlib import Path

import pytest

from study.storage import atomic
from study.storage.atomic import (
    SUMS,
    Checksums,
    StorageError,
    record_checksum,
    write_atomically,
)
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which storage is waited for."""
    clock = Clock()
    monkeypatch.setattr(atomic, "time", clock)
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 60.0)
    return clock


@pytest.mark.parametrize(
    "failing, code",
    [
        ("os.fsync", errno.EFBIG),
        ("pathlib.Path.replace", errno.EISDIR),
        ("pathlib.Path.open", errno.EROFS),
    ],
)
def test_what_fails_for_good_is_reported_at_once_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, failing: str, code: int
):
    path = tmp_path / "file"
    write_atomically(path, "öld")
    began = clock.now

    def fail(*_: object):
        raise OSError(code, "it may not be")

    with monkeypatch.context() as forbidden:
        forbidden.setattr(failing, fail)
        with pytest.raises(StorageError, match=f"{path} cannot be read or written: it may not be"):
            write_atomically(path, "new")
    assert clock.now == began
    assert path.read_text() == "öld"
    assert list(tmp_path.iterdir()) == [path]


def test_an_outage_is_waited_for_once_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
):
    is_full = True

    def fsync(_: int):
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def seconds_to_fail() -> float:
        begun = clock.now
        with pytest.raises(
            StorageError, match=r"could not be read or written for 60 seconds: No space left"
        ):
            write_atomically(tmp_path / "file", "x")
        return clock.now - begun

    def end():
        nonlocal is_full
        is_full = False

    monkeypatch.setattr(os, "fsync", fsync)
    assert 60 < seconds_to_fail() <= 60 + atomic.RETRY_SECONDS
    assert [seconds_to_fail() for _ in range(5)] == [0] * 5
    clock.now += atomic.RECOVERS_WITHIN + 1
    assert seconds_to_fail() > 60, "the next outage is waited for again"
    clock.now += atomic.RECOVERS_WITHIN + 1
    clock.after(30.0, end)
    began = clock.now
    write_atomically(tmp_path / "file", "x")
    assert clock.now >= began + 30
    is_full = True
    assert seconds_to_fail() > 60, "what could be written has ended the outage"


ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The published SHA-256 of ``abc``."""


@pytest.mark.parametrize("junk", [b"", f"{ABC}  on".encode(), b"\xff\xfe\n"])
def test_a_file_matches_what_was_recorded_last_or_before_and_nothing_else(
    tmp_path: Path, junk: bytes
):
    """A crash may come after the checksum and before the file, or cut a line short."""
    assert Checksums(tmp_path).names == []
    record_checksum(tmp_path, "one", b"former")
    record_checksum(tmp_path, "abc", b"abc")
    path = tmp_path / SUMS
    assert path.read_text().endswith(f"{ABC}  abc\n"), "as sha256sum reads it"
    path.write_bytes(path.read_bytes() + junk)
    record_checksum(tmp_path, "one", b"latter")
    record_checksum(tmp_path, "two", b"2")
    for contents in (path.read_bytes(), path.read_bytes().replace(b"\n", b"\r\n")):
        path.write_bytes(contents)  # line ends that a tool has changed are no damage
        sums = Checksums(tmp_path)
        assert {"one", "two"} <= {*sums.names}
        assert "on" not in sums.names
        given = (b"former", b"latter", b"2", b"", None)
        assert [one for one in given if sums.matches("one", one)] == [b"former", b"latter"]
        assert sums.matches("other", b"whatever"), "it has no checksum"
