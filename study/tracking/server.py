"""Which tracking server or store is used, and whether it answers."""

from __future__ import annotations

import logging
import os
import re
import shlex

LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers unless it is told otherwise."""

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

from study.errors import TrackingError  # noqa: E402
from study.tracking.views import runs_page  # noqa: E402

logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it creates
logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of every retry


def connect(uri: str, experiment: str) -> MlflowClient:
    """Give a client of a server or store that answers and takes runs of an experiment.

    Raises:
        TrackingError: it does not answer, or the experiment was deleted.
    """
    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
    except Exception as error:  # of MLflow, a database, its driver or the network
        raise TrackingError(
            f"the MLflow tracking server or store {redacted(uri)} does not answer "
            f"({first_line(error)}); start it, or set tracking.uri or MLFLOW_TRACKING_URI"
        ) from None
    if found is not None and found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment '{experiment}' on {redacted(uri)} was deleted; "
            "restore it, or set tracking.experiment"
        )
    return client


def redacted(uri: str) -> str:
    """Take user name and password out of a URI."""
    return redacted_text(uri)


def browse_command(uri: str) -> str:
    """Give the command that opens MLflow's pages on a store, or the address of a server."""
    if _is_server(uri):
        return f"open {redacted(uri)}"
    return f"mlflow ui --backend-store-uri {shlex.quote(redacted(uri))}"


def page_address(uri: str, experiment_id: str) -> str:
    """Give the address of an experiment's studies, on a server or on the pages of a local store."""
    return runs_page(redacted(uri) if _is_server(uri) else LOCAL_PAGES, experiment_id)


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def first_line(error: Exception) -> str:
    """Tell an error in one line without passwords; a database's would fill a screen."""
    text = redacted_text(str(error).strip() or repr(error))
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}"


def redacted_text(text: str) -> str:
    """Take user names and passwords of URIs out of a message, wherever in it they stand."""
    return re.sub(r"(?<=://)[^\s'\"]*@", "***@", text)
