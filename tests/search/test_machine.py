"""Where trials would run is looked at before they are asked for."""

import logging
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import ray
from ray._common.utils import get_ray_address_file

from study.config.schema import ResourcesConfig
from study.errors import ClusterError, StudyError
from study.search.driver import ray_session
from study.search.machine import (
    BOOTSTRAP,
    address_file,
    cluster_address,
    joins_cluster,
    refuse_silent_cluster,
    refuse_too_many_cpus,
    refuse_too_many_gpus,
    source_of_address,
    unjoined_cluster,
)
from tests.case_tables import from_table
from tests.listening import listening

DEAD = "127.0.0.1:9"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine of four cores and two GPUs, in no cluster, and with a home and a Ray of its own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("study.search.machine.ANSWERS_WITHIN", 0.5)
    monkeypatch.setattr("study.search.ray_internals.cpus_here", lambda: 4.0)
    monkeypatch.setattr("study.search.machine.list_gpus", lambda: ["one", "two"])
    return monkeypatch


def ray_start(address: str):
    """Leave what `ray start` does."""
    address_file().parent.mkdir(exist_ok=True)
    address_file().write_text(address)


def ray_up(address: str):
    """Leave what `ray up` does on the head."""
    ray_start(address)
    Path(BOOTSTRAP).expanduser().touch()


def test_a_trial_that_fits_this_machine_passes_and_any_does_in_a_cluster(
    alone: pytest.MonkeyPatch,
):
    for cpus, gpus in ((0.5, 0), (4, 2), (1, 0.25), (50, 25)):
        if cpus == 50:
            alone.setenv("RAY_ADDRESS", "head:6379")
        resources = ResourcesConfig(cpus_per_trial=cpus, gpus_per_trial=gpus)
        refuse_too_many_cpus(resources)
        refuse_too_many_gpus(resources)


def test_a_trial_that_does_not_fit_is_refused_with_what_there_is(
    alone: pytest.MonkeyPatch,
):
    resources = ResourcesConfig(cpus_per_trial=5, gpus_per_trial=3)
    with pytest.raises(StudyError, match=r"^5 a trial, and this machine has 4 CPU cores; .*4 or"):
        refuse_too_many_cpus(resources)
    with pytest.raises(StudyError, match=r"^3 a trial, and this machine has 2 GPUs; .* cluster"):
        refuse_too_many_gpus(resources)
    alone.setattr("study.search.machine.list_gpus", list)
    with pytest.raises(StudyError, match="has 0 GPUs; allowed is 0, or a cluster"):
        refuse_too_many_gpus(resources)


@pytest.mark.usefixtures("alone")
def test_a_cluster_of_ray_up_is_joined_unasked_until_ray_stop_and_one_of_ray_start_is_not():
    assert cluster_address() == "local"
    ray_start("10.0.0.1:6379")
    assert cluster_address() == "local"
    ray_up("10.0.0.1:6379")
    assert cluster_address() == "10.0.0.1:6379"
    assert source_of_address() == str(address_file())
    address_file().unlink()  # as `ray stop` does
    assert not joins_cluster()


@from_table
def test_the_variable_goes_before_the_files(alone: pytest.MonkeyPatch, named: str, address: str):
    ray_up("10.0.0.1:6379")
    alone.setenv("RAY_ADDRESS", named)
    assert cluster_address() == address
    assert joins_cluster() == (named != "local")
    assert source_of_address() == "RAY_ADDRESS"


@from_table
def test_the_file_of_the_address_is_where_ray_puts_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
):
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(address_file()) == get_ray_address_file(None)


@from_table
def test_a_cluster_that_does_not_answer_is_refused_with_what_is_allowed(
    alone: pytest.MonkeyPatch, address: str, told: str
):
    alone.setenv("RAY_ADDRESS", address)
    with pytest.raises(StudyError, match=told) as caught:
        refuse_silent_cluster()
    assert "unset RAY_ADDRESS" in str(caught.value)


@pytest.mark.parametrize("address", ["", "local", "anyscale://mine"])
def test_what_names_no_machine_is_not_tried(alone: pytest.MonkeyPatch, address: str):
    alone.setenv("RAY_ADDRESS", address)
    refuse_silent_cluster()


@pytest.fixture
def live(ray_cluster: None, alone: pytest.MonkeyPatch) -> str:
    """The address of a Ray that runs; the first argument starts it before its folder is another."""
    alone.setattr("study.search.ray_internals.use_token", lambda: None)  # it was started without
    alone.setattr("study.search.machine.ANSWERS_WITHIN", 120.0)
    find = ray._private.services.find_gcs_addresses
    getattr(find, "cache_clear", bool)()  # since 2.59; another test may have had another Ray
    return str(ray.get_runtime_context().gcs_address)


@pytest.mark.parametrize("leave, named", [(ray_start, "auto"), (ray_up, ""), (ray_up, None)])
def test_a_ray_that_runs_answers(
    alone: pytest.MonkeyPatch, live: str, leave: Callable[[str], None], named: str | None
):
    leave(live)
    alone.setenv("RAY_ADDRESS", live if named is None else named)
    refuse_silent_cluster()
    assert unjoined_cluster() is None
    assert cluster_address() == live


@pytest.mark.parametrize("named", ["auto", "HOST:PORT"])
def test_a_cluster_of_another_ray_is_refused_by_both_versions_and_the_way_out(
    alone: pytest.MonkeyPatch, live: str, named: str
):
    ray_start(live)
    alone.setenv("RAY_ADDRESS", named.replace("HOST:PORT", live))
    theirs = ray.__version__
    alone.setattr(ray, "__version__", "2.0.1")
    python = platform.python_version()
    wanted = f"the Ray cluster at {live} has Ray {theirs} with Python {python}, and this process on"
    with pytest.raises(StudyError, match=wanted) as refused:
        refuse_silent_cluster()
    assert f" has Ray 2.0.1 with Python {python}; Ray wants them equal" in str(refused.value)
    assert "RAY_ADDRESS=local" in str(refused.value)


@pytest.mark.parametrize(
    "leave, named, address, allowed",
    [
        (ray_up, "", DEAD, f"though {BOOTSTRAP} says .* RAY_ADDRESS=local"),
        (ray_start, "auto", DEAD, "ray_current_cluster; .* unset RAY_ADDRESS"),
        (ray_start, "auto", "nonsense", "ray_current_cluster; .* unset RAY_ADDRESS"),
    ],
)
def test_a_dead_cluster_of_this_machine_is_told_with_its_files(
    alone: pytest.MonkeyPatch,
    leave: Callable[[str], None],
    named: str,
    address: str,
    allowed: str,
):
    leave(address)
    alone.setenv("RAY_ADDRESS", named)
    with pytest.raises(StudyError, match=f"no Ray cluster answers at {address} .*{allowed}"):
        refuse_silent_cluster()


def test_a_live_cluster_that_is_not_joined_is_named_with_what_joins_it(
    alone: pytest.MonkeyPatch, live: str
):
    ray_start(live)
    sentence = str(unjoined_cluster())
    assert live in sentence
    assert "RAY_ADDRESS=auto" in sentence
    alone.setenv("RAY_ADDRESS", "local")
    assert unjoined_cluster() is None, "who says so knows it"


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("address", [None, DEAD, "nonsense"])
def test_no_cluster_and_a_dead_one_are_not_mentioned(address: str | None):
    if address is not None:
        ray_start(address)
    assert unjoined_cluster() is None
    refuse_silent_cluster()


class Asked(Exception):
    """Ray was asked to start."""


@pytest.fixture
def init(alone: pytest.MonkeyPatch) -> Mock:
    """Ray's own start, which raises instead."""
    init = Mock(side_effect=Asked)
    alone.setattr(ray, "is_initialized", lambda: False)
    alone.setattr(ray, "init", init)
    alone.setattr(ray, "shutdown", lambda: None)  # another test may use the Ray of this process
    return init


def test_a_study_starts_its_own_ray_and_names_a_cluster_beside_it_that_lives(
    live: str, init: Mock, caplog: pytest.LogCaptureFixture
):
    for address in (DEAD, live):
        ray_start(address)
        with caplog.at_level(logging.WARNING), pytest.raises(Asked):
            ray_session().__enter__()
    assert [call.kwargs["address"] for call in init.call_args_list] == ["local", "local"]
    (message,) = caplog.messages
    assert live in message


def test_a_study_ends_where_the_cluster_to_join_is_silent_and_ray_is_not_tried(
    alone: pytest.MonkeyPatch, init: Mock
):
    ray_up(DEAD)
    with pytest.raises(StudyError, match=f"^{address_file()}: .*{DEAD}"):
        ray_session().__enter__()
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            alone.setenv("RAY_ADDRESS", address)
            with pytest.raises(StudyError, match=rf"^RAY_ADDRESS: no Ray .* at {address} \(no an"):
                ray_session().__enter__()
        over.set()
    init.assert_not_called()


SLOW = "The current node timed out during startup. This could happen because some of the raylet …"


@pytest.mark.parametrize(
    "said, kind, told",
    [
        (SLOW, ClusterError, "busy: The current node timed out during startup$"),
        ("Timed out waiting for file /tmp/ray/…/gcs_server_port_…", ClusterError, "for file /tmp"),
        ("Failed to start GCS.  Last 0 lines of error files:", ClusterError, "to start GCS$"),
        ("something else", RuntimeError, "something else"),
    ],
)
def test_a_ray_that_does_not_start_is_told_in_words(
    init: Mock, said: str, kind: type[Exception], told: str
):
    init.side_effect = RuntimeError(said)
    with pytest.raises(kind, match=told):
        ray_session("resume mine").__enter__()
