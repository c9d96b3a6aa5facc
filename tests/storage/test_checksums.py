"""Sums beside a folder's files: damage shows, and a crash around a write is none."""

import subprocess
from pathlib import Path

import pytest

from study.storage.atomic import SUMS, Checksums, record_checksums, sha256_of

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The published SHA-256 of ``abc``."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    folder.mkdir()
    return folder


def record(folder: Path, **contents: bytes) -> None:
    record_checksums(folder, contents, known=folder.parent)


def test_a_sum_is_that_of_the_standard() -> None:
    assert sha256_of(b"abc") == ABC


def test_sums_have_the_form_that_sha256sum_reads(folder: Path) -> None:
    record(folder, one=b"abc", two=b"naught")
    assert (folder / SUMS).read_text().splitlines()[0] == f"{ABC}  one"
    (folder / "one").write_bytes(b"abc")
    (folder / "two").write_bytes(b"naught")
    command = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
    (folder / "two").write_bytes(b"nought")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


def test_a_file_matches_what_was_noted_and_nothing_else_does(folder: Path) -> None:
    record(folder, one=b"abc")
    sums = Checksums(folder)
    assert sums.names == ["one"]
    assert sums.matches("one", b"abc")
    assert not sums.matches("one", b"abd")
    assert not sums.matches("one", b"")
    assert not sums.matches("one", None), "it is gone"


def test_of_what_nothing_was_noted_anything_is_believed(folder: Path) -> None:
    assert Checksums(folder).names == []
    record(folder, one=b"abc")
    assert Checksums(folder).matches("other", b"whatever")
    assert Checksums(folder).matches("other", None)


def test_a_file_that_is_written_anew_may_be_the_former_or_the_latter(folder: Path) -> None:
    """A crash may come after the sum and before the file."""
    record(folder, one=b"former")
    record(folder, one=b"latter", two=b"2")
    sums = Checksums(folder)
    assert sums.names == ["one", "two"]
    assert sums.matches("one", b"former")
    assert sums.matches("one", b"latter")
    assert not sums.matches("one", b"2")


def test_a_line_that_a_crash_cut_short_is_left_out(folder: Path) -> None:
    record(folder, one=b"abc")
    with (folder / SUMS).open("ab") as file:
        file.write(f"{sha256_of(b'other')}  on".encode())
    assert Checksums(folder).names == ["one"]
    assert not Checksums(folder).matches("one", b"other")


def test_sums_noted_after_such_a_line_count(folder: Path) -> None:
    record(folder, one=b"abc")
    with (folder / SUMS).open("ab") as file:
        file.write(b"0" * 30)
    record(folder, two=b"2")
    sums = Checksums(folder)
    assert sums.matches("two", b"2")
    assert not sums.matches("two", b"3")
    assert not sums.matches("one", b"abd")


def test_bytes_that_are_no_text_spoil_their_own_line_alone(folder: Path) -> None:
    record(folder, one=b"abc")
    with (folder / SUMS).open("ab") as file:
        file.write(b"\xff\xfe\n")
    record(folder, two=b"2")
    assert Checksums(folder).matches("two", b"2")
    assert not Checksums(folder).matches("one", b"abd")


def test_line_ends_that_a_tool_has_changed_are_no_damage(folder: Path) -> None:
    record(folder, one=b"abc", two=b"naught")
    path = folder / SUMS
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    sums = Checksums(folder)
    assert sums.names == ["one", "two"]
    assert sums.matches("one", b"abc")
    assert not sums.matches("one", b"abd")
