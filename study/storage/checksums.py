"""SHA-256 sums of files that stay as they are, kept beside them: damage shows, a crash does not.

``sha256.txt`` has the form that ``sha256sum`` reads. A sum is noted before its file is written, and
earlier ones stay: whichever side of a crash a file is from, its sum is there.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from study.storage.atomic import append_lines, read_if_there

FILE = "sha256.txt"


def record_checksums(folder: Path, contents: Mapping[str, bytes], *, known: Path) -> None:
    """Note what files of a folder are about to hold, by name; ``known`` as for `with_retries`."""
    lines = [f"{sha256_of(data)}  {name}\n" for name, data in contents.items()]
    append_lines(folder / FILE, "".join(lines).encode(), known=known)


class Checksums:
    """The sums of a folder's files."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        noted = read_if_there(path, path.read_bytes, known=folder.parent) or b""
        self._of: dict[str, set[str]] = defaultdict(set)
        for line in noted.decode(errors="replace").split("\n")[:-1]:  # the last may have been cut
            digest, _, name = line.partition("  ")
            self._of[name].add(digest)

    @property
    def names(self) -> list[str]:
        """The files that have a sum."""
        return sorted(self._of)

    def matches(self, name: str, contents: bytes | None) -> bool:
        """Tell whether a file holds what was noted; where nothing was, whatever it holds."""
        if name not in self._of:
            return True
        return contents is not None and sha256_of(contents) in self._of[name]


def sha256_of(contents: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(contents).hexdigest()
