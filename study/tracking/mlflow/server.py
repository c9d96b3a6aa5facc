"""Which tracking server or store is used, and whether it answers."""

from __future__ import annotations

import logging
import os
import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""How the addresses of databases begin."""

LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers unless it is told otherwise."""

ANSWERS_WITHIN = 60.0
"""Seconds in which a server or store answers what is asked at once; a new one makes its tables."""
NOT_ABOUT_A_CALL = (401, 403, 404, 407, 408, 429)
"""HTTP codes below 500 that a server or a proxy before it answers whatever it is asked."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
MEANT = {
    # It would print addresses with their passwords.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A call is made again by who knows what it did: MLflow would repeat one whose answer was lost,
    # and so create a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
for name, value in QUIET.items():  # MLflow reads some of them while it is imported
    os.environ.setdefault(name, value)
os.environ.update(MEANT)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Experiment  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy import create_engine, make_url  # noqa: E402

from study.errors import StudyError, TrackingError, redacted_text  # noqa: E402
from study.storage.atomic import StorageError  # noqa: E402
from study.tracking.mlflow.views import runs_page  # noqa: E402

logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it creates
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # and of what it raises
logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of every retry

T = TypeVar("T")


def connect(uri: str, experiment: str) -> MlflowClient:
    """Give a client of a server or store that answers and takes runs of an experiment.

    Raises:
        TrackingError: it does not answer, or the experiment was deleted.
    """

    def ask() -> tuple[MlflowClient, Experiment | None]:
        client = open_client(uri)
        return client, client.get_experiment_by_name(experiment)

    try:
        client, found = within(ANSWERS_WITHIN, ask)
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


def open_client(uri: str) -> MlflowClient:
    """Give a client; of a database one that can be opened."""
    if uri.startswith(DATABASES):
        _open_once(uri)
    return MlflowClient(uri)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Give what a call gives, or give it up: a server that hangs must not hold up a study.

    What was given up goes on in a thread that nothing waits for.

    Raises:
        TrackingError: it has not ended in time.
        Exception: what the call raised.
    """
    given: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="mlflow-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not given:
        raise TrackingError(f"no answer within {seconds:.0f} s")
    return given[0]


def refused(error: Exception) -> bool:
    """Tell whether a failure is of the one thing that was sent, so that others may be taken.

    Otherwise the server or the study's storage is at fault, or not there, and the same may be
    taken later.
    """
    if isinstance(error, StudyError):  # a damaged file of a trial
        return not isinstance(error, TrackingError | StorageError)
    if isinstance(error, MlflowException):
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # 404 as well, but of MLflow's own
            return True
        status = error.get_http_status_code()
    else:  # an HTTP error of artifacts; others have no code
        status = getattr(getattr(error, "response", None), "status_code", 500)
    return 400 <= status < 500 and status not in NOT_ABOUT_A_CALL


def redacted(uri: str) -> str:
    """Take user name and passwords out of a URI."""
    return redacted_text(re.sub(r"(?<=://).*@", "***@", uri, flags=re.DOTALL))


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


def _open_once(uri: str) -> None:
    """Open a database, since MLflow tries for 100 s before it says why it cannot."""
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)  # as MLflow does
    engine = create_engine(url)
    try:
        with engine.connect():
            pass
    finally:
        engine.dispose()


def first_line(error: Exception) -> str:
    """Tell an error in one line without passwords; a database's would fill a screen."""
    text = redacted_text(str(error).strip() or repr(error))
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}"
