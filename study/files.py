"""Whole files or none: write to a temporary name, fsync, rename."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, contents: bytes | str) -> None:
    """Replace a file so that a reader or a crash sees the old contents or the new, never a part.

    Raises:
        OSError: the folder is missing, read-only or full; the old file is then untouched.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
