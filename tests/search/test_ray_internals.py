"""Private parts of Ray and Tune are where they were: each test fails once one moves."""

import inspect
import os
import socket
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import grpc
import pytest
import ray
from packaging.version import Version
from ray._private import ray_constants
from ray._private.authentication import authentication_token_setup
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from study.search import ray_internals
from study.search.ray_errors import RAISED
from tests.listening import listening


def test_tune_copies_environment_variables_by_a_set_of_names():
    """For Ray, where https://github.com/ray-project/ray/issues/28276 asks for secret variables.

    Tune puts AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SECURITY_TOKEN and AWS_SESSION_TOKEN of
    the driver into the runtime environment of each trial's actor (`ENV_VARS_TO_PROPAGATE` in
    tune/execution/class_cache.py), which Ray writes into its logs as plain text. Expected: Tune
    leaves credentials out, or lets a user do so, since roles and files give them to workers too.
    """
    assert isinstance(class_cache.ENV_VARS_TO_PROPAGATE, set)
    source = Path(class_cache.__file__).read_text()
    assert all(name in source for name in ray_internals.CREDENTIALS)
    assert not ray_internals.CREDENTIALS & class_cache.ENV_VARS_TO_PROPAGATE


def test_ray_knows_whether_it_may_be_a_cluster_by_a_constant():
    """For Ray, beside https://github.com/ray-project/ray/issues/18730.

    Since that issue, a Ray of one machine listens on loopback on macOS and Windows. On Linux
    `ray.init()` listens on the address of the network card, and `_node_ip_address="127.0.0.1"` is
    replaced by it, so that others in the network reach a Ray that one machine alone needs.
    Expected: a public argument of `ray.init` that keeps it to loopback on every system.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    assert before is True  # on Linux
    with ray_internals.on_loopback():
        assert ray._private.services.ray_constants.ENABLE_RAY_CLUSTER is False
    assert ray_constants.ENABLE_RAY_CLUSTER is before


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that ends them with this process")
def test_ray_starts_its_processes_by_one_function_that_can_give_them_sessions():
    """For Ray, beside https://github.com/ray-project/ray/issues/3797.

    `start_ray_process` blocks SIGINT in the processes that `ray.init` starts, so that Ctrl-C leaves
    them alone. SIGTERM and SIGHUP to the process group of the driver, as a shell, a terminal and a
    batch system send them, still end the raylet, and the driver cannot close what it had open.
    Expected: these processes have a session of their own on Linux, where they end with the driver
    by the kernel's signal at a parent's death.
    """
    services = ray._private.services
    assert "process = ConsolePopen(" in inspect.getsource(services.start_ray_process)
    before = services.ConsolePopen
    with ray_internals.in_own_sessions():
        process = services.ConsolePopen(["sleep", "60"])
    try:
        assert os.getsid(process.pid) == process.pid
    finally:
        process.kill()
        process.wait()
    assert services.ConsolePopen is before


def test_nobody_else_reads_the_token_of_ray_from_its_first_moment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """For Ray, beside https://github.com/ray-project/ray/pull/57835.

    `generate_and_save_token` opens `~/.ray/auth_token` with the permissions of the umask, which are
    0644 on most systems: every user of the machine can read the token, and so run code as the one
    who started Ray. Expected: its folder is made with 0700, and the file with 0600.
    """
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert authentication_token_setup._get_default_token_path().parts[-2:] == token.parts[-2:]
    monkeypatch.setattr(authentication_token_setup, "_get_default_token_path", lambda: token)
    ray_internals.keep_token_private()
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    token.write_text("secret")
    token.chmod(0o644)
    ray_internals.keep_token_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_ray_counts_the_cores_that_this_process_may_use():
    if not ray.is_initialized():
        assert 1 <= ray_internals.cpus_here() <= (os.cpu_count() or 1)


@pytest.mark.usefixtures("ray_cluster")
def test_a_ray_of_this_process_is_started_here_with_the_cores_it_was_given():
    assert ray_internals.started_here()
    assert ray_internals.cpus_here() == 2
    assert ray_internals.own_processes().keys() == {"gcs_server", "raylet"}
    if sys.platform == "linux":
        assert ray_internals.agents().keys() >= {"DashboardAgent", "RuntimeEnvAgent"}


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_tells_its_versions_and_that_it_is_on_this_machine():
    address = ray.get_runtime_context().gcs_address
    assert ray_internals.runs_here(address)
    assert not ray_internals.runs_here("203.0.113.1:6379")
    assert ray_internals.other_versions(address) is None


def test_a_server_of_the_client_of_ray_is_one_that_speaks_grpc():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    assert ray_internals.client_fault(f"127.0.0.1:{port}", 0.5) == "no answer within 0.5 s"
    server.start()
    assert ray_internals.client_fault(f"127.0.0.1:{port}", 60) is None
    server.stop(None)


HEADERS = 1
"""The kind of the frame in HTTP/2 with which a call begins."""


def as_a_proxy(connection: socket.socket):
    """Answer the first call by HTTP/2 with its status 404, and nothing else until it hangs up."""
    received = connection.makefile("rb")
    received.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    connection.sendall(b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\0\x04\x01\0\0\0\0")
    kind = None
    while kind != HEADERS:
        frame = received.read(9)
        kind = frame[3]
        received.read(int.from_bytes(frame[:3]))
    connection.sendall(b"\0\0\x01\x01\x05\0\0\0\x01\x8d")
    received.read()


def test_what_ray_raises_it_does_not_print_as_well(capfd: pytest.CaptureFixture[str]):
    with listening(as_a_proxy) as port:
        fault = ray_internals.cluster_fault(f"127.0.0.1:{port}", 120)
    print("after", file=sys.stderr)
    assert fault == "Received http2 header with status: 404"
    assert capfd.readouterr().err == "after\n"


def test_a_trial_of_tune_has_a_worker_and_statistics_that_can_be_dropped():
    trial = Trial("any", stub=True)
    trial.update_last_result({"score": 0.5, "training_iteration": 1})
    assert "score" in trial.metric_analysis
    assert "score" in trial.metric_n_steps
    ray_internals.forget_results(trial)
    assert not trial.metric_analysis
    assert not trial.metric_n_steps
    assert ray_internals.worker_of(trial) is None
    trial.temporary_state.ray_actor = "its worker"
    assert ray_internals.worker_of(trial) == "its worker"


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_worker_raises_comes_with_the_mark_of_ray():
    @ray.remote(max_retries=0)
    def fail():
        raise ValueError("by itself")

    with pytest.raises(ValueError, match="by itself") as raised:
        ray.get(fail.remote())
    assert RAISED in str(raised.value)


def test_a_trial_that_is_to_be_started_again_fails_no_second_time():
    """For Ray, where no issue is known to tell of it.

    Two calls to one worker may be open when its machine goes away, as while a trial begins. Both
    fail. `TuneController._process_trial_failure` puts the trial back into its queue for the first
    one, and by its status PENDING takes the second one for the end of the trial, whatever
    `max_failures` says. Expected: the second failure of the same actor is passed over.
    """
    controller = create_autospec(TuneController, instance=True)
    controller._fail_fast, controller._print_trial_errors = False, False
    failed = controller._process_trial_failure

    def fail(status: str) -> int:
        trial = Trial("any", stub=True)
        trial.status = status
        failed.reset_mock()
        TuneController._trial_task_failure(controller, trial, RuntimeError("it has gone"))
        return int(failed.call_count)

    assert (fail(Trial.RUNNING), fail(Trial.PENDING)) == (1, 1)
    with ray_internals.ignore_second_failure(lambda: None):
        assert (fail(Trial.RUNNING), fail(Trial.PENDING)) == (1, 0)
    assert fail(Trial.PENDING) == 1


def test_tune_takes_a_second_failure_of_a_trial_for_its_end():
    """Else the change to Tune is needed no more."""
    source = inspect.getsource(TuneController._process_trial_failure)
    assert "trial.status == Trial.RUNNING and trial.should_recover()" in source
    assert "elif trial.status in {Trial.RUNNING, Trial.PENDING}" in source


@pytest.mark.skipif(
    Version(ray.__version__) < Version("2.60"), reason="this Ray names no nodes that drain"
)
@pytest.mark.usefixtures("ray_cluster")
def test_the_head_names_the_nodes_that_drain(monkeypatch: pytest.MonkeyPatch):
    """For Ray, where https://github.com/ray-project/ray/issues/63968 asks for it in Ray Train.

    `GcsClient.get_draining_nodes` has the ids of nodes and the times until which they live. Ray
    Serve and Train read it, and Tune does not. Expected: that Tune moves trials, or a public way.
    """
    worker = ray._private.worker.global_worker
    assert worker.gcs_client.get_draining_nodes(timeout=60) == {}
    here = ray.get_runtime_context().get_node_id()
    for draining, leaves in (({}, False), ({"another": 0}, False), ({here: 0}, True)):
        head = SimpleNamespace(get_draining_nodes=lambda named=draining, **_: named)
        monkeypatch.setattr(worker, "gcs_client", head)
        assert ray_internals.own_node_drains() is leaves
