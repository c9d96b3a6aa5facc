"""Folders before they are written: whether they can be, and new ones that appear whole."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.storage.atomic import FULL, StorageError

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable that holds how a job of Ray was submitted."""


def refuse_taken(folder: Path) -> None:
    """Raise if a folder cannot be written without replacing something.

    Raises:
        StorageError: it is a file, a link to nothing, or a folder with contents.
    """
    taken = not folder.is_dir() or any(folder.iterdir())
    if taken and os.path.lexists(folder):
        raise StorageError(f"{folder} already exists; expected a new or empty folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield the temporary path of a folder, which replaces the folder when the block succeeds.

    The block makes the folder at the temporary path, which has the folder's name and is on the
    same disk. If the block raises, the folder is not made.

    Args:
        folder: the folder; it may exist if it is empty.

    Raises:
        StorageError: see `refuse_taken`; or the folder cannot be written, or another process has
            made it meanwhile.
    """
    refuse_taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            temporary = Path(scratch, folder.name)
            yield temporary
            temporary.replace(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error


def runs_in_copy() -> bool:
    """Return whether this is a job of Ray that runs in a copy of a folder, which Ray deletes."""
    submitted = json.loads(os.environ.get(JOB) or "{}")
    environment = submitted.get("runtime_env") or {}
    return "working_dir" in environment


def refuse_unwritable(folder: Path) -> None:
    """Raise if a folder cannot be written; if it does not exist, if it cannot be made.

    Permissions alone do not show that: root has all of them, and a file system may be read-only
    or full. So a file is made, and deleted again.

    Args:
        folder: the folder, which need not exist.

    Raises:
        StorageError: it cannot be written; the message names the folder that refused, or the file
            in its place.
    """
    existing = folder.absolute()
    try:
        while not existing.exists():
            existing = existing.parent
        with tempfile.NamedTemporaryFile(prefix=".clipfit-check-", dir=existing) as file:
            file.write(b"\0")
    except OSError as error:
        expected = "expected a writable folder"
        if error.errno in FULL:
            expected = "free some space, then run the command again"
        raise StorageError(
            f"{folder} cannot be written: {existing} is not writable "
            f"({error.strerror or error}); {expected}"
        ) from error
