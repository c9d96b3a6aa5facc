"""Where a study's results are sent, told without MLflow, which takes seconds to import."""

from __future__ import annotations

import os
import re
from pathlib import Path

DEFAULT_URI = "sqlite:///mlflow.db"
"""In the working folder."""


def tracking_uri(configured: str | None) -> str:
    """Give the configured URI, else ``$MLFLOW_TRACKING_URI``, else a local SQLite store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_absent_store(uri: str) -> bool:
    """Tell whether a URI is that of a SQLite store that is not there, and that a study can make.

    There is nothing to connect to then, and whoever only looks must not leave a store behind.
    """
    named = re.fullmatch(r"sqlite:///([^?#]+)", uri)
    if named is None:
        return False
    file = Path(named[1])
    return not file.exists() and file.parent.is_dir() and os.access(file.parent, os.W_OK | os.X_OK)
