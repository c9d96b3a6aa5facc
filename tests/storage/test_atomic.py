"""Whole files or none, and checksums by which damage shows and a crash around a write does not."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage import atomic
from study.storage.atomic import (
    SUMS,
    Checksums,
    StorageError,
    record_checksums,
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


def test_names_of_errors_that_macos_lacks_are_not_needed():
    child = (
        "import errno; vars(errno).pop('EREMOTEIO', None); "
        "from study.storage.atomic import UNREACHABLE; assert errno.EIO in UNREACHABLE"
    )
    subprocess.run([sys.executable, "-c", child], check=True)


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
        with pytest.raises(StorageError, match=f"{path} cannot be used: it may not be"):
            write_atomically(path, "new")
    assert clock.now == began
    assert path.read_text() == "öld"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[bool]:
    """Storage that is full as long as it is asked to be, of a process that has not waited yet."""
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
    atomic.stop_waiting()
    assert seconds_to_fail(tmp_path / "three", clock) <= atomic.RETRY_SECONDS


ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The published SHA-256 of ``abc``."""


def matching(folder: Path, name: str, *contents: bytes | None) -> list[bytes | None]:
    """Return the contents that match a checksum of a file."""
    sums = Checksums(folder)
    return [data for data in contents if sums.matches(name, data)]


def test_checksums_have_the_form_that_sha256sum_reads(tmp_path: Path):
    record_checksums(tmp_path, {"one": b"abc", "two": b"naught"})
    assert (tmp_path / SUMS).read_text().splitlines()[0] == f"{ABC}  one"
    (tmp_path / "one").write_bytes(b"abc")
    (tmp_path / "two").write_bytes(b"naught")
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, check=True)


def test_a_file_matches_what_was_recorded_last_or_before_and_nothing_else(tmp_path: Path):
    """A crash may come after the checksum and before the file."""
    assert Checksums(tmp_path).names == []
    record_checksums(tmp_path, {"one": b"former"})
    record_checksums(tmp_path, {"one": b"latter", "two": b"2"})
    path = tmp_path / SUMS
    for contents in (path.read_bytes(), path.read_bytes().replace(b"\n", b"\r\n")):
        path.write_bytes(contents)  # line ends that a tool has changed are no damage
        assert Checksums(tmp_path).names == ["one", "two"]
        matched = matching(tmp_path, "one", b"former", b"latter", b"2", b"", None)
        assert matched == [b"former", b"latter"]
    assert matching(tmp_path, "other", b"whatever", None) == [b"whatever", None], "no checksum"


@pytest.mark.parametrize("junk", [f"{ABC}  on".encode(), b"\xff\xfe\n"])
def test_a_line_that_a_crash_cut_short_or_that_is_no_text_spoils_itself_alone(
    tmp_path: Path, junk: bytes
):
    record_checksums(tmp_path, {"one": b"1"})
    with (tmp_path / SUMS).open("ab") as file:
        file.write(junk)
    assert "on" not in Checksums(tmp_path).names
    record_checksums(tmp_path, {"two": b"2"})
    assert matching(tmp_path, "two", b"2", b"3") == [b"2"]
    assert matching(tmp_path, "one", b"1", b"abc") == [b"1"]
