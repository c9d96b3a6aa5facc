"""Whole files or none."""

import errno
import os
from pathlib import Path

import pytest

from study.storage.atomic import StorageError, write_atomically


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
