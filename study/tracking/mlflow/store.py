"""The address that results are sent to, found without MLflow, which takes seconds to import."""

import os
import re
from pathlib import Path

DEFAULT_URI = "sqlite:///mlflow.db"
"""A SQLite store in the working folder."""


def tracking_uri(configured: str | None) -> str:
    """Return the configured URI, else ``$MLFLOW_TRACKING_URI``, else a local SQLite store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_absent_store(uri: str) -> bool:
    """Return whether a URI names a SQLite file that does not exist yet but can be made.

    A check must not connect to such a store, since connecting would create the file.
    """
    if (named := re.fullmatch(r"sqlite:///([^?#]+)", uri)) is None:
        return False
    file = Path(named[1])
    return not file.exists() and file.parent.is_dir() and os.access(file.parent, os.W_OK | os.X_OK)
