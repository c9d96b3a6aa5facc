"""All uses of private parts of Ray and Tune in the search.

A release may change them without notice. Each has a test that fails then. The repair belongs here.
"""

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import ray
from ray._private import ray_constants
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from study.storage.atomic import FULL, with_retries
from study.storage.time_limit import call_within

CREDENTIALS = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
)
"""The environment variables that Tune must not copy to its workers, and Ray thus not log."""
class_cache.ENV_VARS_TO_PROPAGATE -= CREDENTIALS
OWN_PROCESSES = ("gcs_server", "raylet", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""The names of the processes without which a Ray of this machine cannot work.

The raylet ends with either of its agents, and Ray the driver before the raylet itself has ended.
"""
AUTH_FILE = "~/.ray/auth_token"
"""The file with the token with which Ray is spoken to, by its documentation."""
CLUSTER_ANSWERS_WITHIN = 11.0
"""How many seconds a cluster that is to be joined may take to answer.

Ray's own client warns of silence on the standard error after 5 and after 10 s.
"""
HEAD_ANSWERS_WITHIN = 1.0
"""How many seconds the head of a cluster may take to name its draining nodes."""
LOW_ON_MEMORY = "due to the node running low on memory"
"""A part of Ray's message about a worker that it killed to keep its machine alive."""
MEMORY_REPORT = "Object store memory usage"
"""The start of Ray's long list of the commands of other processes, which may contain secrets."""
RAISED = "ray::"
"""The start of a traceback from Ray; its message about a worker that died contains none."""
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)
"""The line of a traceback that has the exception."""
PROBE = 2**16
"""How many bytes must fit beside Ray's temporary files."""


def cause_of(error: BaseException | str) -> str:
    """Return the cause in an error of Ray, or in its text, in one line.

    It is the last exception if the error has a worker's traceback, else the whole text.
    """
    text = str(error)
    exceptions = EXCEPTION.findall(text)
    if RAISED in text and exceptions:
        return str(exceptions[-1]).strip()
    return " ".join(text.split()) or type(error).__name__


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of a library's module or class during the block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def on_loopback() -> AbstractContextManager[None]:
    """Make Ray listen on loopback only; on Linux it otherwise listens on every interface.

    Passing the loopback address to Ray is not enough: where Ray supports clusters, it replaces
    that address by the external one.
    """
    return _replaced(ray_constants, "ENABLE_RAY_CLUSTER", False)


def keep_token_private() -> None:
    """Let no other user of this machine read the token with which Ray is spoken to.

    Before there is one, its folder is made so that only its owner may enter it.
    """
    with suppress(OSError, RuntimeError):  # the home folder may be nobody's, or there is none
        token = Path(AUTH_FILE).expanduser()
        token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        token.chmod(0o600)


def own_processes() -> Sequence[psutil.Process]:
    """Return the processes without which Ray cannot work, of the Ray that this process started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may have ended
            if process.name() in OWN_PROCESSES:
                found.append(process)
    return found


def kill_own_processes() -> None:
    """Kill the Ray that this process started, with its workers."""
    for process in own_processes():
        with suppress(psutil.Error):  # it may have ended
            for child in process.children(recursive=True):
                child.kill()
            process.kill()


def cluster_fault(address: str) -> str | None:
    """Return why no Ray answers at HOST:PORT; None if one does.

    `ray.init` tries for minutes where something else listens, such as a web server.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)  # as `ray.init` sets it
    try:
        call_within(CLUSTER_ANSWERS_WITHIN, lambda: ray._raylet.GcsClient(address=address))
    except Exception as error:  # of Ray's own kinds
        return cause_of(error)
    return None


def wait_for_temporary_space() -> None:
    """Wait while the disk of Ray's temporary files is full, where no worker can start.

    Raises:
        StorageError: it is full for too long.
    """
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())

    def write() -> None:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(PROBE))
        except OSError as error:
            if error.errno in FULL:
                raise

    with_retries(folder, write)


def patched_tune() -> AbstractContextManager[None]:
    """Let a trial survive that its machine goes away while two calls to its worker are open.

    This is so as it begins. Tune would count the second failure, when the trial is already back in
    its queue, as a failed restart, and end the trial whatever max_failures allows.
    """
    fail_before = TuneController._trial_task_failure

    def fail(self: TuneController, trial: Trial, exception: Exception) -> None:
        if trial.status != Trial.PENDING:
            wait_for_temporary_space()  # where Tune writes the failure
            fail_before(self, trial, exception)

    return _replaced(TuneController, "_trial_task_failure", fail)


def keep_idle_workers(controller: TuneController, trial: Trial, count: int) -> None:
    """Let Tune keep workers that have no trial for the moment, for other trials like the given one.

    Tune would keep one, and start others for the next round, each of which loads PyTorch and the
    backbone again.
    """
    controller._actor_cache.increase_max(trial.placement_group_factory, by=count)


def own_node_drains() -> bool:
    """Return whether the node of this worker is about to be taken away, as far as the head says."""
    try:
        client = ray._private.worker.global_worker.gcs_client
        draining = client.get_draining_nodes(timeout=HEAD_ANSWERS_WITHIN)
        return bool(draining) and ray.get_runtime_context().get_node_id() in draining
    except Exception:  # of Ray's own kinds, or there is no Ray
        return False
