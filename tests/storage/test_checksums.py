"""Sums beside a folder's files: damage shows, and a crash around a write is none."""

import subprocess
from pathlib import Path

import pytest

from study.storage.atomic import SUMS, Checksums, record_checksums

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The published SHA-256 of ``abc``."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    folder.mkdir()
    return folder


def record(folder: Path, **contents: bytes):
    record_checksums(folder, contents, existing=folder.parent)


def matching(folder: Path, name: str, *contents: bytes | None) -> list[bytes | None]:
    """Return what of some contents matches what was noted of a file."""
    sums = Checksums(folder)
    return [data for data in contents if sums.matches(name, data)]


def test_sums_have_the_form_that_sha256sum_reads(folder: Path):
    record(folder, one=b"abc", two=b"naught")
    assert (folder / SUMS).read_text().splitlines()[0] == f"{ABC}  one"
    (folder / "one").write_bytes(b"abc")
    (folder / "two").write_bytes(b"naught")
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True)


def test_a_file_matches_what_was_recorded_last_or_before_and_nothing_else(folder: Path):
    """A crash may come after the checksum and before the file."""
    assert Checksums(folder).names == []
    record(folder, one=b"former")
    record(folder, one=b"latter", two=b"2")
    path = folder / SUMS
    for contents in (path.read_bytes(), path.read_bytes().replace(b"\n", b"\r\n")):
        path.write_bytes(contents)  # line ends that a tool has changed are no damage
        assert Checksums(folder).names == ["one", "two"]
        matched = matching(folder, "one", b"former", b"latter", b"2", b"", None)
        assert matched == [b"former", b"latter"]
    assert matching(folder, "other", b"whatever", None) == [b"whatever", None], "none is recorded"


@pytest.mark.parametrize("junk", [f"{ABC}  on".encode(), b"0" * 30, b"\xff\xfe\n"])
def test_a_line_that_a_crash_cut_short_or_that_is_no_text_spoils_itself_alone(
    folder: Path, junk: bytes
):
    record(folder, one=b"1")
    with (folder / SUMS).open("ab") as file:
        file.write(junk)
    assert "on" not in Checksums(folder).names
    record(folder, two=b"2")
    assert matching(folder, "two", b"2", b"3") == [b"2"]
    assert matching(folder, "one", b"1", b"abc") == [b"1"]
