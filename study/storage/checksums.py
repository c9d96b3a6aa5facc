"""SHA-256 checksums of a folder's files, which reveal damage.

``sha256.txt`` has the format of ``sha256sum``. A checksum is recorded before its file is written,
and a file's earlier checksums stay. So a crash between the two writes does not look like damage.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from study.storage.atomic import append_lines, read_if_there

FILE = "sha256.txt"


def record_checksums(folder: Path, contents: Mapping[str, bytes], *, known: Path) -> None:
    """Record the checksums of files that are about to be written.

    Args:
        folder: the folder of the files.
        contents: the new contents of each file, by name.
        known: see `study.storage.atomic.with_retries`.

    Raises:
        StorageError: the checksums cannot be written.
    """
    lines = [f"{sha256_of(data)}  {name}\n" for name, data in contents.items()]
    append_lines(folder / FILE, "".join(lines).encode(), known=known)


class Checksums:
    """The recorded checksums of a folder's files."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        noted = read_if_there(path, path.read_bytes, known=folder.parent) or b""
        self._of: dict[str, set[str]] = defaultdict(set)
        for line in noted.decode(errors="replace").split("\n")[:-1]:  # the last may have been cut
            # A tool that copies text may have changed the line ends, which is no damage.
            digest, _, name = line.rstrip("\r").partition("  ")
            self._of[name].add(digest)

    @property
    def names(self) -> list[str]:
        """The names of the files that have a checksum, sorted."""
        return sorted(self._of)

    def matches(self, name: str, contents: bytes | None) -> bool:
        """Return whether a file's contents match one of its checksums, or it has no checksum.

        Args:
            name: the file's name.
            contents: its contents; None if it is missing.
        """
        if name not in self._of:
            return True
        return contents is not None and sha256_of(contents) in self._of[name]


def sha256_of(contents: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(contents).hexdigest()
