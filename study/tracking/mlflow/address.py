"""Check the address of MLflow's server or store, before MLflow itself is imported."""

import os
import re
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from study.errors import TrackingError, redacted_text
from study.storage.probe import refuse_unwritable, runs_in_copy

DEFAULT_URI = "sqlite:///mlflow.db"
"""A SQLite store in the working folder."""
SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABRICKS = ("databricks", "databricks-uc", "uc")
SQLITE_HEADER = b"SQLite format 3\0"
"""The first bytes of every SQLite store that is not empty."""
ADVICE = "set tracking.uri or MLFLOW_TRACKING_URI to sqlite:///FILE.db or a server's address"


def tracking_uri(configured: str | None) -> str:
    """Return the configured URI, else ``$MLFLOW_TRACKING_URI``, else a local SQLite store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_absent_store(uri: str) -> bool:
    """Return whether a URI names a SQLite file that does not exist yet, or is empty.

    A check must not connect to such a store, since that would create its file and tables.

    Raises:
        TrackingError: the folder of the file does not exist.
        StorageError: the folder cannot be written.
    """
    file = _sqlite_file(uri)
    if not file or file.is_dir() or (file.exists() and file.stat().st_size):
        return False
    if not file.parent.is_dir():
        raise TrackingError(
            f"the folder {file.parent} of the MLflow store {uri} is not there; make it, or set "
            "tracking.uri or MLFLOW_TRACKING_URI to a store in a folder that is"
        )
    refuse_unwritable(file.parent)
    return True


def refuse_unusable(uri: str) -> None:
    """Raise if MLflow cannot keep studies at a URI; no server is contacted.

    Raises:
        TrackingError: the message says what is wrong, and what is allowed.
    """
    fault = _find_fault(uri)
    if fault:
        raise TrackingError(f"{redacted_text(uri)} {fault}; {ADVICE}")
    if runs_in_copy() and uri.startswith("sqlite"):
        raise TrackingError(
            f"{uri} is on the machine that this job happens to run on; allowed is the address of a "
            "tracking server, by tracking.uri or MLFLOW_TRACKING_URI"
        )


def _find_fault(uri: str) -> str:
    """Return what is wrong with a URI; empty if nothing is."""
    scheme, separator, path = uri.partition("://")
    kind = scheme.partition("+")[0]
    if scheme == "file" or not (separator or scheme in DATABRICKS):
        return "is a folder of files, which MLflow no longer writes"
    added = entry_points(group="mlflow.tracking_store").names  # by other packages
    if separator and kind not in {*SERVERS, *DATABASES, *DATABRICKS, *added}:
        return f"begins with '{scheme}://', which MLflow does not know"
    if kind in SERVERS:
        try:
            address = urlsplit(uri)
            if not address.hostname or address.port == 0:
                return "names no machine and port"
        except ValueError as error:
            return f"is no address of a server ({error})"
    return _sqlite_fault(uri, path) if kind == "sqlite" else ""


def _sqlite_fault(uri: str, path: str) -> str:
    """Return what is wrong with a SQLite store's URI or file; empty if nothing is."""
    if path and not path.startswith(("/", "?")):
        return "has two slashes, and three stand before the name of a file, as in sqlite:///FILE.db"
    if path.partition("?")[0] in ("", "/", "/:memory:"):
        return "is a store in memory, which ends with the study"
    file = _sqlite_file(uri)
    if file and file.is_dir():
        return "is a folder, and a store is a file"
    with suppress(OSError):  # of a file that cannot be read, which connecting to it reports
        if file:
            with file.open("rb") as contents:
                if contents.read(len(SQLITE_HEADER)) not in (b"", SQLITE_HEADER):
                    return "is a file of another kind, and no SQLite store"
    return ""


def _sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for any other URI."""
    parsed = re.fullmatch(r"sqlite:///([^?#]+)(?:[?#].*)?", uri)
    return Path(parsed[1]) if parsed else None
