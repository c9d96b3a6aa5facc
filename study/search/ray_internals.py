"""All uses of private parts of Ray and Tune in the search.

A release may change them without notice. Each has a test that fails then. The repair belongs here.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import ray
from ray._common.usage import usage_lib
from ray._private import ray_constants
from ray._private.authentication import authentication_token_setup
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from study.process.output import silence_streams
from study.search.ray_errors import RAISED, cause_of
from study.storage.atomic import with_retries
from study.storage.time_limit import call_within

CREDENTIALS = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
)
"""The environment variables that Tune must not copy to its workers, and Ray thus not log."""
class_cache.ENV_VARS_TO_PROPAGATE -= CREDENTIALS
ANSWERS_WITHIN = 1.0
"""How many seconds the head of a cluster may take to name its draining nodes."""
LOW_ON_MEMORY = "due to the node running low on memory"
"""A part of Ray's message about a worker that it killed to keep its machine alive."""
MEMORY_REPORT = "Object store memory usage"
"""The start of Ray's long list of the commands of other processes, which may contain secrets."""


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


def own_processes() -> Mapping[str, subprocess.Popen[bytes]]:
    """Return the processes without which Ray cannot work, of the Ray that this process started."""
    if not started_here():
        return {}
    processes_of = ray._private.worker._global_node.all_processes
    processes = {}
    for name in (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET):
        for info in processes_of.get(name, ()):
            processes[name] = info.process
    return processes


def agents() -> dict[str, int]:
    """Return the process ids of the agents of Ray's raylet, on Linux; it ends if one of them does.

    They are children of the raylet that this process started.
    """
    ids = {}
    for process in own_processes().values():
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            continue
        for pid in children.read_text().split():
            with suppress(OSError):  # it may have ended
                title = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0 ")
                if title.endswith("Agent") and title.startswith(RAISED):
                    ids[title.removeprefix(RAISED)] = int(pid)
    return ids


def kill_own_processes() -> None:
    """Kill the Ray that this process started, on Linux with its workers."""
    for process in own_processes().values():
        pids: list[str] = []
        for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
            with suppress(OSError):  # the thread may have ended
                pids += children.read_text().split()
        process.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def reconnects_within() -> float:
    """Return for how many seconds a cluster may be away before Ray ends this process."""
    return float(os.environ.get("RAY_gcs_rpc_server_reconnect_timeout_s", "60"))  # noqa: SIM112


def use_token() -> None:
    """Speak to clusters with this user's token, if there is one, as Ray does by itself.

    ``ray start`` also finds the token, and its cluster refuses whoever comes without.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)  # as `ray.init` is told to; it warns of it
    enable = getattr(authentication_token_setup, "maybe_enable_token_auth_if_token_available", None)
    if enable:  # before 2.59, Ray speaks with a token only where RAY_AUTH_MODE asks for it
        enable(warn_if_disabled=False)


def cluster_fault(address: str, seconds: float) -> str | None:
    """Return why no Ray answers at HOST:PORT within some seconds; None if one does.

    Ray's own limit is 40 s, and ``ray.init`` tries three times.
    """
    with _without_stderr():  # where Ray's C++ writes what it also raises
        try:
            call_within(seconds, lambda: ray._raylet.GcsClient(address=address))
        except Exception as error:  # of Ray's own kinds
            return cause_of(error)
    return None


def other_versions(address: str) -> tuple[str, str] | None:
    """Return the versions of the cluster that answers at HOST:PORT, and ours; None if Ray joins it.

    Ray itself raises a RuntimeError as it joins, and does so for another patch of Python, too.
    """
    try:
        client = ray._raylet.GcsClient(address=address)
        cluster = usage_lib.get_cluster_metadata(client)
    except Exception:  # of Ray's own kinds; what refuses to tell refuses `ray.init` as well
        return None
    try:
        ray._private.utils.check_version_info(cluster, address)
    except RuntimeError:
        described = "Ray {} with Python {}"
        theirs = described.format(cluster["ray_version"], cluster["python_version"])
        return theirs, described.format(*ray._private.utils.compute_version_info())
    return None


def client_fault(address: str, seconds: float) -> str | None:
    """Return why no server of Ray's client answers at HOST:PORT within some seconds; else None."""
    try:
        from ray._private import grpc_utils
    except ImportError:
        return "Ray's client is not installed; `pip install 'ray[client]'` does so"
    channel = grpc_utils.init_grpc_channel(address)
    try:
        grpc_utils.grpc.channel_ready_future(channel).result(timeout=seconds)
    except grpc_utils.grpc.FutureTimeoutError:
        return f"no answer within {seconds:g} s"
    finally:
        channel.close()
    return None


def runs_here(address: str) -> bool:
    """Return whether a process of the Ray whose head is at HOST:PORT runs on this machine."""
    return address in ray._private.services.find_gcs_addresses()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what the process, and not Python alone, writes to its standard error in the block."""
    kept = os.dup(2)
    silence_streams(2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def cpus_here() -> float:
    """Return how many CPU cores a Ray that is started on this machine has; a container has fewer.

    A Ray that this process has started may have another number.
    """
    if ray.is_initialized():
        return float(ray.cluster_resources().get("CPU", 0))
    return float(ray._private.utils.get_num_cpus())


def ignore_second_failure(wait_for_space: Callable[[], None]) -> AbstractContextManager[None]:
    """Ignore the second failure of a trial that is already back in Tune's queue.

    Tune would count it as a failed restart and end the trial, whatever max_failures allows. A trial
    fails twice if its machine goes away while two calls to its worker are open, as when it begins.

    Args:
        wait_for_space: a function that returns once Ray's folder for temporary files has space,
            since Tune writes each failure there.
    """
    before = TuneController._trial_task_failure

    def fail(self: TuneController, trial: Trial, exception: Exception) -> None:
        if trial.status != Trial.PENDING:
            wait_for_space()
            before(self, trial, exception)

    return _replaced(TuneController, "_trial_task_failure", fail)


def retry_record() -> AbstractContextManager[None]:
    """Let Tune write its own record again while a disk is full, which would end the study.

    Nothing reads the record, but Tune does not return without one.

    Raises:
        StorageError: during the block, the disk is full for too long or cannot be written.
    """
    before = TuneController.save_to_dir

    def save(self: TuneController) -> None:
        folder = Path(self._storage.experiment_driver_staging_path)
        with_retries(folder, partial(before, self))

    return _replaced(TuneController, "save_to_dir", save)


def started_here() -> bool:
    """Return whether this process started the Ray instance that it uses."""
    node = ray._private.worker._global_node
    return node is not None and bool(node.head)


def own_node_drains() -> bool:
    """Return whether the node of this worker is about to be taken away, as far as the head says."""
    try:
        client = ray._private.worker.global_worker.gcs_client
        draining = client.get_draining_nodes(timeout=ANSWERS_WITHIN)
        return bool(draining) and ray.get_runtime_context().get_node_id() in draining
    except Exception:  # of Ray's own kinds, or there is no Ray
        return False


def worker_of(trial: Trial) -> ray.actor.ActorHandle | None:
    """Return the worker that runs a trial, if one does."""
    return trial.temporary_state.ray_actor


def forget_results(trial: Trial) -> None:
    """Drop the statistics of a trial's results, which Tune keeps in memory until the study ends."""
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()
