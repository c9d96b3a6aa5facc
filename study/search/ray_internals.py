"""All uses of private parts of Ray and Tune in the search.

A release may change them without notice. Each has a test that fails then. The repair belongs here.
"""

import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import ray
from ray._common.utils import get_ray_address_file
from ray._private import ray_constants
from ray._private.authentication import authentication_token_setup
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


def in_own_sessions() -> AbstractContextManager[None]:
    """Start Ray's own processes out of reach of signals to the process group of this one.

    A terminal, a service manager and a batch system send them. Ray's processes end with this one
    all the same: Linux sees to that. Elsewhere Ray does, by means of the group, which stays.
    """
    start = ray._private.services.ConsolePopen
    if sys.platform == "linux":
        start = partial(start, start_new_session=True)
    return _replaced(ray._private.services, "ConsolePopen", start)


def keep_token_private() -> None:
    """Let no other user of this machine read the token with which Ray is spoken to.

    Before there is one, its folder is made so that only its owner may enter it.
    """
    token = authentication_token_setup._get_default_token_path()
    with suppress(OSError):  # the home folder may be nobody's
        token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        token.chmod(0o600)


def own_processes() -> Sequence["subprocess.Popen[bytes] | psutil.Process"]:
    """Return the processes without which Ray cannot work, of the Ray that this process started.

    It ends if one of the agents does that its raylet has started.
    """
    if not started_here():
        return []
    infos = ray._private.worker._global_node.all_processes
    names = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)
    processes = [info.process for name in names for info in infos.get(name, ())]
    agents = []
    for process in processes:
        with suppress(psutil.Error):  # it may have ended
            for child in psutil.Process(process.pid).children():
                if "".join(child.cmdline()).rstrip().endswith("Agent"):
                    agents.append(child)
    return processes + agents


def kill_own_processes() -> None:
    """Kill the Ray that this process started, with its workers."""
    for process in own_processes():
        with suppress(psutil.Error):  # it may have ended
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            psutil.Process(process.pid).kill()


def cluster_fault(address: str) -> str | None:
    """Return why no Ray answers at HOST:PORT, or where ``auto`` finds one; None if one does.

    Ray's own limit is 40 s, and ``ray.init`` tries three times.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)  # as `ray.init` is told to; it warns of tokens
    if address == "auto":
        # As Ray does by itself, since what `ray start` made here refuses whoever comes without this
        # user's token. A cluster that is named may have none, and could not call this process back.
        name = "maybe_enable_token_auth_if_token_available"
        enable = getattr(authentication_token_setup, name, None)
        if enable:  # before 2.59, Ray speaks with a token only where RAY_AUTH_MODE asks for it
            enable(warn_if_disabled=False)
        try:
            address = Path(get_ray_address_file(None)).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            return str(error)
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
    folder = Path(get_ray_address_file(None)).parent

    def write() -> None:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(PROBE))
        except OSError as error:
            if error.errno in FULL:
                raise

    with_retries(folder, write)


@contextmanager
def mended_tune() -> Iterator[None]:
    """Let Tune survive two things that would end a trial or the study.

    A trial fails twice if its machine goes away while two calls to its worker are open, as when it
    begins. Tune would count the second failure, when the trial is already back in its queue, as a
    failed restart, and end the trial whatever max_failures allows.

    Tune writes failures and its own record, which nothing reads, beside Ray's temporary files. It
    waits while that disk is full.

    Raises:
        StorageError: during the block, the disk is full for too long or cannot be written.
    """
    fail_before, save_before = TuneController._trial_task_failure, TuneController.save_to_dir

    def fail(self: TuneController, trial: Trial, exception: Exception) -> None:
        if trial.status != Trial.PENDING:
            wait_for_temporary_space()
            fail_before(self, trial, exception)

    def save(self: TuneController) -> None:
        folder = Path(self._storage.experiment_driver_staging_path)
        with_retries(folder, partial(save_before, self))

    failing = _replaced(TuneController, "_trial_task_failure", fail)
    with failing, _replaced(TuneController, "save_to_dir", save):
        yield


def started_here() -> bool:
    """Return whether this process started the Ray instance that it uses."""
    node = ray._private.worker._global_node
    return node is not None and bool(node.head)


def own_node_drains() -> bool:
    """Return whether the node of this worker is about to be taken away, as far as the head says."""
    try:
        client = ray._private.worker.global_worker.gcs_client
        draining = client.get_draining_nodes(timeout=HEAD_ANSWERS_WITHIN)
        return bool(draining) and ray.get_runtime_context().get_node_id() in draining
    except Exception:  # of Ray's own kinds, or there is no Ray
        return False


def worker_of(trial: Trial) -> ray.actor.ActorHandle | None:
    """Return the worker that runs a trial, if one does."""
    return trial.temporary_state.ray_actor
