"""Speaking to a tracking server or store: requests, their failures, runs, files, pages."""

import logging
import os
import re
import shlex
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

ANSWERS_WITHIN = 60.0
"""How many seconds a simple request may take; a new store makes its tables in this time."""
BEGINS_WITHIN = 12.0
"""How many seconds a server may take before a study starts; one that takes 10 s will do."""
SEVERAL_WITHIN = 120.0
"""How many seconds several requests may take, such as those that open or close a study's run."""
PAGE = 1000
"""How many runs one call fetches."""
NOT_ABOUT_A_CALL = (401, 403, 404, 407, 408, 429)
"""HTTP codes below 500 whose cause is the server, a proxy or the login, not the content sent."""

# MLflow reads some of them when it is imported. The user's own values of these come first:
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# MLflow would print addresses with their passwords.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
# Only the caller knows whether a call is safe to repeat. MLflow would repeat a call whose answer
# was lost, and so create a run twice.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Run  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy import NullPool, create_engine, make_url  # noqa: E402

from study.errors import StudyError, TrackingError, redacted_text  # noqa: E402
from study.storage.atomic import StorageError, read_if_exists  # noqa: E402
from study.storage.time_limit import T, call_within, cause_of_silence, first_cause  # noqa: E402
from study.tracking.mlflow.mlflow_internals import run_page, runs_page  # noqa: E402
from study.tracking.tracker import first_line  # noqa: E402

for name, level in {
    "mlflow": logging.WARNING,  # it logs every table it creates
    "mlflow.store.db.utils": logging.CRITICAL,  # it logs what it also raises
    "urllib3": logging.ERROR,  # it logs every retry
}.items():
    logging.getLogger(name).setLevel(level)


def ask(seconds: float | None, call: Callable[[], T], fault: str, advice: str = "") -> T:
    """Return the result of a call to MLflow, which may hang or fail.

    Args:
        seconds: how long it may take; None sets no limit.
        call: the call.
        fault: what a failure means, for the message; the cause follows it in brackets.
        advice: what to do about it, for the message.

    Raises:
        TrackingError: the call failed, or took too long.
        StudyError: a file of the study has a fault.
    """
    try:
        return call_within(seconds, call)
    except Exception as error:  # from MLflow, a database, its driver or the network
        if isinstance(error, StudyError) and not isinstance(error, TrackingError):
            raise
        raise TrackingError(f"{fault} ({_cause(error)}){advice}") from None


def _cause(error: Exception) -> str:
    """Return why a call failed on one short line, without what MLflow repeats of its libraries."""
    innermost: BaseException = error
    while "failed with exception" in str(error) and innermost.__context__ is not None:
        innermost = innermost.__context__
    if isinstance(innermost, TimeoutError):
        return "no answer in time"
    if isinstance(innermost, ModuleNotFoundError):
        return f"the Python package {innermost.name} is not installed"
    if isinstance(first_cause(innermost), ConnectionError | socket.gaierror):
        return cause_of_silence(innermost)
    if (code := re.search(r"failed with error code (\d+)", str(error))) is None:
        return first_line(innermost if isinstance(innermost, Exception) else error)
    if code[1] in ("401", "403"):
        variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return f"HTTP {code[1]}: it asks for {variables}, or for MLFLOW_TRACKING_TOKEN"
    return f"HTTP {code[1]}" + ": is it an MLflow server at all?" * (code[1] == "404")


def connect(uri: str, experiment: str, seconds: float = ANSWERS_WITHIN) -> MlflowClient:
    """Return a client, after checking that the server answers and the experiment is usable.

    Args:
        uri: the address of the tracking server or store.
        experiment: the name of the experiment, which need not exist.
        seconds: how long the server may take.

    Raises:
        TrackingError: the server or store does not answer, or the experiment was deleted.
    """
    found = ask(
        seconds,
        lambda: open_client(uri).get_experiment_by_name(experiment),
        f"the MLflow tracking server or store {redacted(uri)} does not answer",
        "; start it, or set tracking.uri or MLFLOW_TRACKING_URI",
    )
    if found is not None and found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment '{experiment}' on {redacted(uri)} was deleted; "
            "restore it, or set tracking.experiment"
        )
    return MlflowClient(uri)


def open_client(uri: str) -> MlflowClient:
    """Return a client; for a database, first check that it can be opened.

    MLflow itself retries for 100 s before it reports an error.
    """
    if uri.startswith(("sqlite", "postgresql", "mysql", "mssql")):
        url = make_url(uri)
        if url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)  # as MLflow does
        create_engine(url, poolclass=NullPool).connect().close()
    return MlflowClient(uri)


def all_runs(
    client: MlflowClient, experiments: Sequence[str], condition: str, order_by: Sequence[str] = ()
) -> Iterator[Run]:
    """Yield all runs that meet a condition, in as many calls as it takes.

    Args:
        client: a client of the server with the runs.
        experiments: the ids of the experiments to search.
        condition: the filter that selects runs, in MLflow's syntax.
        order_by: what the runs are sorted by, in MLflow's syntax.
    """
    page, token = None, None
    while page is None or token:
        page = client.search_runs(
            list(experiments),
            filter_string=condition,
            max_results=PAGE,
            order_by=list(order_by),
            page_token=token,
        )
        yield from page
        token = page.token


def send_files(
    client: MlflowClient, run_id: str, folder: Path, patterns: Sequence[str], *, known: Path
) -> None:
    """Send the files and folders in a folder whose names match one of the patterns.

    A copy is sent, since MLflow would treat a folder on missing storage as empty.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _copy(folder, Path(scratch), patterns, known=known)
        client.log_artifacts(run_id, scratch)


def matching_files(folder: Path, patterns: Sequence[str], *, known: Path) -> list[str]:
    """Return the sorted names in a folder that match a pattern; ``known``: see `with_retries`."""
    names = read_if_exists(folder, lambda: os.listdir(folder), existing=known)  # noqa: PTH208
    return sorted(n for n in names or () if any(fnmatch(n, pattern) for pattern in patterns))


def _copy(folder: Path, target: Path, patterns: Sequence[str], *, known: Path) -> None:
    """Copy what matches a pattern, with all that is in folders; wait for missing storage."""
    target.mkdir(exist_ok=True)
    for name in matching_files(folder, patterns, known=known):
        path = folder / name
        try:
            contents = read_if_exists(path, path.read_bytes, existing=known)
        except IsADirectoryError:
            _copy(path, target / name, ["*"], known=known)
        else:
            if contents is not None:
                (target / name).write_bytes(contents)


def refused(error: Exception) -> bool:
    """Return whether a failure concerns only what was sent, so that sending others may succeed.

    Otherwise the server or the study's storage has failed, and the same may be accepted later.
    """
    if isinstance(error, StudyError):  # such as a damaged file of a trial
        return not isinstance(error, TrackingError | StorageError)
    if isinstance(error, MlflowException):
        own_404 = error.error_code == "RESOURCE_DOES_NOT_EXIST"  # not that of a proxy
        status = 400 if own_404 else error.get_http_status_code()
    else:  # HTTP errors of artifact stores have a code, others none
        status = getattr(getattr(error, "response", None), "status_code", 500)
    return 400 <= status < 500 and status not in NOT_ABOUT_A_CALL


def redacted(uri: str) -> str:
    """Return a URI without user name and passwords."""
    return redacted_text(re.sub(r"(?<=://).*@", "***@", uri, flags=re.DOTALL))


def viewing_hints(uri: str, experiment_id: str, run_id: str, view: str) -> list[tuple[str, str]]:
    """Return the command that opens MLflow's pages, and the addresses of a study's.

    The addresses are on the server, or where `mlflow ui` shows a local store by default.

    Args:
        uri: the address of the tracking server or store.
        experiment_id: the id of the study's experiment.
        run_id: the id of the study's own run.
        view: the key of the saved view that shows its trials.
    """
    shown, remote = redacted(uri), uri.startswith(("http://", "https://"))
    server = shown if remote else "http://127.0.0.1:5000"
    command = f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
    return [
        ("browse", f"open {shown}" if remote else command),
        ("page", run_page(server, experiment_id, run_id)),
        ("trials", runs_page(server, experiment_id, view)),
    ]
