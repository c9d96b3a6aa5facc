"""Whether a folder can be written, found out by writing, and whether it stays."""

import json
import os
import tempfile
from pathlib import Path

from study.storage.atomic import StorageError

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable in which Ray tells a job how it was submitted."""


def runs_in_copy() -> bool:
    """Return whether this is a job of Ray's that runs in a copy of a folder, which Ray deletes."""
    submitted = json.loads(os.environ.get(JOB) or "{}")
    return "working_dir" in (submitted.get("runtime_env") or {})


def refuse_unwritable(folder: Path) -> None:
    """Raise if neither a folder nor a file can be made in a folder, or where it would be made.

    Permissions alone do not tell: root has all of them, and a file system may be read-only or
    full.

    Args:
        folder: the folder, which need not exist.

    Raises:
        StorageError: it cannot be written; the message names the folder that refused.
    """
    existing = folder.absolute()
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        with (
            tempfile.TemporaryDirectory(prefix=".clipfit-check-", dir=existing) as inner,
            tempfile.TemporaryFile(dir=inner) as file,
        ):
            file.write(b"\0")
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {existing} is not writable "
            f"({error.strerror or error}); allowed is a folder that this user may write"
        ) from error
