"""Whole files or none."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from study.storage import atomic
from study.storage.atomic import StorageError, append_lines, write_atomically


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, "nüw")
    assert path.read_text(encoding="utf-8") == "nüw"
    write_atomically(path, b"\xff")
    assert path.read_bytes() == b"\xff"


@pytest.mark.parametrize("failing", ["fsync", "write", "replace"])
def test_what_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no such right")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    if failing == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    contents = object() if failing == "write" else "new"
    with pytest.raises((StorageError, TypeError)):
        write_atomically(path, contents)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="none/file cannot be used: No such file or directory"):
        write_atomically(tmp_path / "none" / "file", "text")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Storage that is full as long as it is told to be, of a process that has not waited yet."""
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(atomic, "RETRY_SECONDS", 0.02)
    state = [True]

    def fsync(_: int) -> None:
        if state[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    return state


def seconds_to_fail(path: Path) -> float:
    begun = time.monotonic()
    with pytest.raises(StorageError, match=r"nor could it within 0\.5 seconds: No space left"):
        write_atomically(path, "x")
    return time.monotonic() - begun


def test_an_outage_is_waited_for_once_however_much_fails(tmp_path: Path, full: list[bool]) -> None:
    assert seconds_to_fail(tmp_path / "one") >= 0.5
    assert max(seconds_to_fail(tmp_path / name) for name in "abcde") < 0.4


def test_the_next_outage_is_waited_for_again(
    tmp_path: Path, full: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_to_fail(tmp_path / "one")
    monkeypatch.setattr(atomic, "RECOVERS_WITHIN", 0.1)
    time.sleep(0.2)
    assert seconds_to_fail(tmp_path / "two") >= 0.5


def test_what_could_be_written_in_the_end_ends_the_outage(tmp_path: Path, full: list[bool]) -> None:
    threading.Timer(0.3, lambda: full.__setitem__(0, False)).start()
    write_atomically(tmp_path / "one", "x")
    full[0] = True
    assert seconds_to_fail(tmp_path / "two") >= 0.5


def test_who_gives_up_does_not_wait(tmp_path: Path, full: list[bool]) -> None:
    atomic.give_up()
    assert seconds_to_fail(tmp_path / "one") < 0.4


@pytest.mark.parametrize(
    ("meanwhile", "whole"),
    [(b"", b"1\n2\n3\n"), (b"other\n", b"1\n2\n3\nother\n2\n3\n")],
)
def test_lines_whose_sync_failed_are_there_once_and_those_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: bytes, whole: bytes
) -> None:
    path, sync = tmp_path / "lines", os.fsync
    path.write_bytes(b"1\n")

    def fail_once(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        with path.open("ab") as file:
            file.write(meanwhile)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_once)
    append_lines(path, b"2\n3\n")
    assert path.read_bytes() == whole
