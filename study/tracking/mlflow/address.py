"""Where MLflow keeps studies: an address in words, looked at before MLflow itself is imported."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from study.errors import TrackingError, redacted_text
from study.storage.probe import refuse_unwritable, runs_in_copy

DEFAULT_URI = "sqlite:///mlflow.db"
"""A SQLite store in the working folder."""
SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
OTHERS = ("databricks", "databricks-uc", "uc")
BEGINS_WITH = b"SQLite format 3\0"
"""The first bytes of every SQLite store that is not empty."""
ADVICE = "set tracking.uri or MLFLOW_TRACKING_URI to sqlite:///FILE.db or a server's address"


def tracking_uri(configured: str | None) -> str:
    """Return the configured URI, else ``$MLFLOW_TRACKING_URI``, else a local SQLite store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_absent_store(uri: str) -> bool:
    """Return whether a URI names a SQLite file that does not exist yet, or is empty.

    A check must not connect to such a store, since connecting would make its file and tables.

    Raises:
        TrackingError: the folder that it would be made in is not there.
        StorageError: that folder cannot be written.
    """
    if (file := _file_of(uri)) is None:
        return False
    if file.exists() and not _is_without_tables(file):
        return False
    if not file.parent.is_dir():
        raise TrackingError(
            f"the folder {file.parent} of the MLflow store {uri} is not there; make it, or set "
            "tracking.uri or MLFLOW_TRACKING_URI to a store in a folder that is"
        )
    refuse_unwritable(file.parent)
    return True


def refuse_unusable(uri: str) -> None:
    """Raise if MLflow keeps no studies at a URI; nobody is asked.

    Raises:
        TrackingError: the message says what is wrong, and what is allowed.
    """
    for fault in _faults(uri):
        raise TrackingError(f"{redacted_text(uri)} {fault}; {ADVICE}")
    if runs_in_copy() and uri.startswith("sqlite"):
        raise TrackingError(
            f"{uri} is on the machine that this job happens to run on; allowed is the address of a "
            "tracking server, by tracking.uri or MLFLOW_TRACKING_URI"
        )


def _faults(uri: str) -> Iterator[str]:
    """Yield what is wrong with a URI, as far as it says so itself, or the file that it names."""
    scheme, of_url, rest = uri.partition("://")
    if (not of_url and scheme not in OTHERS) or scheme == "file":
        yield "is a folder of files, which MLflow no longer writes"
    kind = scheme.partition("+")[0]
    if of_url and kind not in {*SERVERS, *DATABASES, *OTHERS, *_of_plugins(), "file"}:
        yield f"begins with '{scheme}://', which MLflow does not know"
    if kind == "sqlite" and rest and not rest.startswith(("/", "?")):
        yield "has two slashes, and three stand before the name of a file, as in sqlite:///FILE.db"
    if kind == "sqlite" and rest.partition("?")[0] in ("", "/", "/:memory:"):
        yield "is a store in memory, which ends with the study"
    if kind in SERVERS:
        try:
            if not urlsplit(uri).hostname or urlsplit(uri).port == 0:
                yield "names no machine and port"
        except ValueError as error:
            yield f"is no address of a server ({error})"
    if (file := _file_of(uri)) is not None and file.exists():
        if file.is_dir():
            yield "is a folder, and a store is a file"
        elif file.is_file() and not _begins_like_a_store(file):
            yield "is a file of another kind, and no SQLite store"


def _of_plugins() -> set[str]:
    """Return the beginnings of the URIs that packages beside MLflow add to it."""
    return {plugin.name for plugin in entry_points(group="mlflow.tracking_store")}


def _file_of(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for anything else."""
    named = re.fullmatch(r"sqlite:///([^?#]+)(?:[?#].*)?", uri)
    return None if named is None else Path(named[1])


def _begins_like_a_store(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as contents:  # which is told when it is connected to
        return contents.read(len(BEGINS_WITH)) in (b"", BEGINS_WITH)
    return True


def _is_without_tables(file: Path) -> bool:
    """Return whether a SQLite file holds no table."""
    if not file.is_file():
        return False
    address = f"{file.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as store:
        return bool(store.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,))
    return False
