"""Which tracking server or store is used, and whether it answers."""

from __future__ import annotations

import logging
import os
import shlex
from urllib.parse import urlsplit, urlunsplit

DEFAULT_URI = "sqlite:///mlflow.db"
"""In the working folder."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
for name, value in QUIET.items():  # MLflow reads some of them while it is imported
    os.environ.setdefault(name, value)

from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from study.errors import TrackingError  # noqa: E402

logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it creates


def tracking_uri(configured: str | None) -> str:
    """Give the configured URI, else ``$MLFLOW_TRACKING_URI``, else a local SQLite store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def connect(uri: str) -> MlflowClient:
    """Give a client of a server or store that answers.

    Raises:
        TrackingError: it does not.
    """
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"the MLflow tracking server or store {redacted(uri)} does not answer "
            f"({_first_line(error)}); start it, or set tracking.uri or MLFLOW_TRACKING_URI"
        ) from None
    return client


def redacted(uri: str) -> str:
    """Take user name and password out of a URI."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"***@{host}"))


def browse_command(uri: str) -> str:
    """Give the command that opens MLflow's pages on a store, or the address of a server."""
    if urlsplit(uri).scheme in ("http", "https"):
        return f"open {redacted(uri)}"
    return f"mlflow ui --backend-store-uri {shlex.quote(redacted(uri))}"


def _first_line(error: Exception) -> str:
    return redacted_text(str(error).strip().splitlines()[0][:300] if str(error) else repr(error))


def redacted_text(text: str) -> str:
    """Take passwords of URIs out of a message."""
    return " ".join(redacted(word) if "://" in word else word for word in text.split(" "))
