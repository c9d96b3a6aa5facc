"""Requests to a tracking server or store: their failures, and files."""

import fcntl
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from fnmatch import fnmatch
from pathlib import Path

ANSWERS_WITHIN = 120.0
"""The time limit in seconds of the requests that open a store or a run, or register a model."""
ABSENT, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
"""MLflow's codes of errors where a run, a model or an alias does not exist."""
NOT_ABOUT_CONTENT = (401, 403, 404, 407, 408, 429)
"""HTTP codes below 500 whose cause is the server, a proxy or the login, not the content sent."""

# MLflow reads some of these variables when it is imported. Values that the user has set win:
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# MLflow would print addresses with their passwords.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
# Only the caller knows whether a call is safe to repeat. MLflow would repeat a call whose answer
# was lost, and so create a run twice.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy import NullPool, create_engine  # noqa: E402
from sqlalchemy.exc import SADeprecationWarning  # noqa: E402

from study.errors import StudyError, TrackingError, redacted_text  # noqa: E402
from study.storage.atomic import StorageError, with_retries  # noqa: E402
from study.storage.time_limit import T, call_within  # noqa: E402
from study.tracking.mlflow.address import DATABASES  # noqa: E402
from study.tracking.tracker import summarize_error  # noqa: E402

# What MLflow's own store asks of SQLAlchemy.
warnings.filterwarnings("ignore", category=SADeprecationWarning, module=r"mlflow\.")
logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs every table it creates
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs what it also raises
logging.getLogger("urllib3").setLevel(logging.ERROR)  # it logs every retry


def call_mlflow(call: Callable[[], T], fault: str, advice: str = "") -> T:
    """Return the result of a call to MLflow, which may hang or fail.

    Args:
        call: the call.
        fault: the start of the error message, followed by the cause in parentheses.
        advice: the end of the error message, which says what to do.

    Raises:
        TrackingError: the call failed, or took too long.
        StudyError: a file of the study has a fault.
    """
    try:
        return call_within(ANSWERS_WITHIN, call)
    except Exception as error:  # from MLflow, a database, its driver or the network
        if isinstance(error, StudyError) and not isinstance(error, TrackingError):
            raise
        raise TrackingError(f"{fault} ({summarize_error(error)}){advice}") from None


def connect(uri: str, experiment: str) -> MlflowClient:
    """Return a client, after checking that the server answers and the experiment is usable.

    Args:
        uri: the address of the tracking server or store.
        experiment: the name of the experiment, which need not exist.

    Raises:
        TrackingError: the server or store does not answer, or the experiment was deleted.
    """
    existing = call_mlflow(
        lambda: open_client(uri).get_experiment_by_name(experiment),
        f"the MLflow tracking server or store {redacted_text(uri)} does not respond",
        "; start it, or set tracking.uri or MLFLOW_TRACKING_URI",
    )
    if existing is not None and existing.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment '{experiment}' on {redacted_text(uri)} was deleted; "
            "restore it, or set tracking.experiment"
        )
    return MlflowClient(uri)


def open_client(uri: str) -> MlflowClient:
    """Return a client; for a database, first check that it can be opened.

    MLflow itself retries for 100 s before it reports an error of a database. Its client makes the
    tables of a new one without a lock, so processes that begin a SQLite store take turns.
    """
    with ExitStack() as turn:
        if uri.startswith(DATABASES):
            engine = create_engine(uri, poolclass=NullPool)
            engine.connect().close()
            if engine.dialect.name == "sqlite":
                with suppress(OSError):  # not every file system has locks
                    folder = os.open(Path(str(engine.url.database)).parent, os.O_RDONLY)
                    turn.callback(os.close, folder)
                    fcntl.flock(folder, fcntl.LOCK_EX)
        return MlflowClient(uri)


def matching_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files and folders in a folder whose names match a pattern; wait for storage."""
    paths = with_retries(folder, lambda: sorted(folder.iterdir()), existing=folder.parent)
    return [path for path in paths if any(fnmatch(path.name, pattern) for pattern in patterns)]


def send_files(
    client: MlflowClient, run_id: str, folder: Path, patterns: Sequence[str], target: str = ""
) -> None:
    """Send the files and whole folders in a folder whose names match a pattern.

    Of folders, hidden files are left out, such as those of a crash. Each file is sent alone, since
    MLflow would treat a folder on missing storage as empty.
    """
    for path in matching_files(folder, patterns):
        if path.is_dir():
            send_files(client, run_id, path, ["[!.]*"], f"{target}{path.name}/")
        else:
            client.log_artifact(run_id, str(path), target.rstrip("/") or None)


def is_refusal(error: Exception) -> bool:
    """Return whether an error concerns only what was sent, so that sending others may succeed.

    Otherwise the server or the study's storage has failed, and may accept the same later.
    """
    if isinstance(error, StudyError):  # such as a damaged file of a trial
        return not isinstance(error, TrackingError | StorageError)
    if not isinstance(error, MlflowException):
        # HTTP errors of artifact stores have a status, other errors have none.
        status = getattr(getattr(error, "response", None), "status_code", 500)
    elif error.error_code == ABSENT:  # MLflow's own 404, not that of a proxy
        status = 400
    else:
        status = error.get_http_status_code()
    return 400 <= status < 500 and status not in NOT_ABOUT_CONTENT
