"""What happens to files: one bit flips, the end is lost, or nothing but zeros is left."""

from pathlib import Path


def flip(path: Path, what: bytes | None = None) -> None:
    """Change one bit in the middle of a file, or of what is in it, so that text stays text."""
    contents = bytearray(path.read_bytes())
    place = len(contents) // 2 if what is None else contents.index(what) + len(what) // 2
    contents[place] ^= 1
    path.write_bytes(contents)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)
