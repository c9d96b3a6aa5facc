"""Check that a folder can be written, by writing to it, and that Ray will not delete it."""

import json
import os
import tempfile
from pathlib import Path

from study.storage.atomic import StorageError

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable that holds how a job of Ray was submitted."""


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
        raise StorageError(
            f"{folder} cannot be written: {existing} is not writable "
            f"({error.strerror or error}); allowed is a folder that this user may write"
        ) from error
