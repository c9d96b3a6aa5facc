"""Private parts of Ray and Tune are where they were: each test fails once one moves."""

import stat
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest
import ray
from packaging.version import Version
from ray._private import ray_constants
from ray._private.authentication import authentication_token_setup
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from study.search import ray_internals


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


def test_nobody_else_reads_the_token_of_ray_from_its_first_moment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """For Ray, beside https://github.com/ray-project/ray/pull/57835.

    `generate_and_save_token` opens `~/.ray/auth_token` with the permissions of the umask, which are
    0644 on most systems: every user of the machine can read the token, and so run code as the one
    who started Ray. Expected: its folder is made with 0700, and the file with 0600.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    token = authentication_token_setup._get_default_token_path()
    assert token == Path(ray_internals.AUTH_FILE).expanduser()
    ray_internals.keep_token_private()
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    token.write_text("secret")
    token.chmod(0o644)
    ray_internals.keep_token_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


@pytest.mark.usefixtures("ray_cluster")
def test_the_processes_of_our_own_ray_are_found_by_name():
    names = {process.name() for process in ray_internals.own_processes()}
    assert names == {*ray_internals.OWN_PROCESSES}


@pytest.mark.usefixtures("ray_cluster")
def test_the_cause_of_what_a_worker_raises_is_its_last_exception():
    @ray.remote(max_retries=0)
    def fail():
        raise ValueError("by itself")

    with pytest.raises(ValueError, match="by itself") as raised:
        ray.get(fail.remote())
    assert ray_internals.RAISED in str(raised.value)
    assert ray_internals.cause_of(raised.value) == "ValueError: by itself"
    # That of another error is its text in one line.
    assert ray_internals.cause_of("RPC error:\nconnection\trefused") == (
        "RPC error: connection refused"
    )
    assert ray_internals.cause_of(TimeoutError()) == "TimeoutError"


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
    with ray_internals.patched_tune():
        assert (fail(Trial.RUNNING), fail(Trial.PENDING)) == (1, 0)
    assert fail(Trial.PENDING) == 1


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
