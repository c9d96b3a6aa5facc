"""Check the address of MLflow's server or store, before MLflow itself is imported."""

import os
import re
from pathlib import Path

from study.errors import TrackingError
from study.storage.new_folders import refuse_unwritable, runs_in_copy

DEFAULT_URI = "sqlite:///mlflow.db"
"""A SQLite store in the working folder."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?#]+)((?:[?#].*)?)")
ADVICE = "set tracking.uri or MLFLOW_TRACKING_URI to sqlite:///FILE.db or a server's address"


def tracking_uri(configured: str | None) -> str:
    """Return the configured URI, else ``$MLFLOW_TRACKING_URI``, else a local SQLite store.

    The path of a SQLite file is absolute: MLflow keeps stores open by their URI, and a process may
    go to another folder.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    parsed = SQLITE.fullmatch(uri)
    if parsed is None or parsed[2] == ":memory:":
        return uri
    return f"{parsed[1]}{Path(parsed[2]).absolute()}{parsed[3]}"


def is_absent_store(uri: str) -> bool:
    """Return whether a URI names a SQLite file that does not exist yet, or is empty.

    A check must not connect to such a store, since that would create its file and tables.

    Raises:
        TrackingError: a study cannot be kept in such a store.
        StorageError: the folder of the file cannot be written.
    """
    if not uri.startswith("sqlite"):
        return False
    parsed = SQLITE.fullmatch(uri)
    if parsed is None or parsed[2] == ":memory:":
        raise TrackingError(f"{uri} is not a file that remains after the study; {ADVICE}")
    if runs_in_copy():
        raise TrackingError(f"{uri} would be on whichever machine runs this job; {ADVICE}")
    file = Path(parsed[2])
    if not file.parent.is_dir():
        raise TrackingError(f"the folder of {uri} does not exist; create it, or {ADVICE}")
    if file.exists() and (file.is_dir() or file.stat().st_size):
        return False
    refuse_unwritable(file.parent)
    return True
