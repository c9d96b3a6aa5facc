"""Where trials would run is looked at before they are asked for."""

import time

import pytest
import ray
from listening import listening

from study.config.loading import build_config
from study.config.schema import ResourcesConfig
from study.errors import StudyError
from study.search.driver import ray_session
from study.search.machine import (
    joins_cluster,
    refuse_silent_cluster,
    refuse_too_many_cpus,
    refuse_too_many_gpus,
)

SETTINGS_OF_HTTP2 = b"\0\0\0\x04\0\0\0\0\0"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine of four cores and two GPUs, in no cluster."""
    monkeypatch.setattr("study.search.internals.in_a_cluster", lambda: False)
    monkeypatch.setattr("study.search.internals.cpus_here", lambda: 4.0)
    monkeypatch.setattr("study.search.machine.gpus_here", lambda: ["one", "two"])
    return monkeypatch


@pytest.mark.usefixtures("alone")
def test_a_trial_that_fits_this_machine_passes() -> None:
    for cpus, gpus in ((0.5, 0), (4, 2), (1, 0.25)):
        resources = ResourcesConfig(cpus_per_trial=cpus, gpus_per_trial=gpus)
        refuse_too_many_cpus(resources)
        refuse_too_many_gpus(resources)


@pytest.mark.usefixtures("alone")
def test_a_trial_that_does_not_fit_is_refused_with_what_there_is() -> None:
    resources = ResourcesConfig(cpus_per_trial=5, gpus_per_trial=2.5)
    with pytest.raises(StudyError, match=r"^5 a trial, and this machine has 4 CPU cores; .*4 or"):
        refuse_too_many_cpus(resources)
    with pytest.raises(StudyError, match=r"^2\.5 a trial, and this machine has 2 GPUs; .* cluster"):
        refuse_too_many_gpus(resources)


def test_a_machine_without_gpus_allows_none(alone: pytest.MonkeyPatch) -> None:
    alone.setattr("study.search.machine.gpus_here", list)
    with pytest.raises(StudyError, match="has 0 GPUs; allowed is 0, or a cluster"):
        refuse_too_many_gpus(ResourcesConfig(gpus_per_trial=0.25))


@pytest.mark.parametrize("place", ["address", "ray start"])
def test_in_a_cluster_this_machine_need_not_hold_a_trial(
    alone: pytest.MonkeyPatch, place: str
) -> None:
    if place == "address":
        alone.setenv("RAY_ADDRESS", "head:6379")
    else:
        alone.setattr("study.search.internals.in_a_cluster", lambda: True)
    resources = ResourcesConfig(cpus_per_trial=50, gpus_per_trial=25)
    refuse_too_many_cpus(resources)
    refuse_too_many_gpus(resources)


@pytest.mark.parametrize(("address", "joins"), [("", False), ("local", False), ("a:1", True)])
def test_an_empty_or_local_address_joins_no_cluster(
    alone: pytest.MonkeyPatch, address: str, joins: bool
) -> None:
    alone.setenv("RAY_ADDRESS", address)
    assert joins_cluster() is joins


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:9", r"no Ray cluster answers at 127\.0\.0\.1:9 \(Connection refused\)"),
        ("ray://127.0.0.1:9", r"no Ray cluster answers at ray://127\.0\.0\.1:9"),
        ("head", "is 'head', which is no address"),
        ("head:port", "is 'head:port', which is no address"),
        ("auto", "is 'auto', but no `ray start` has been here"),
    ],
)
def test_a_cluster_that_does_not_answer_is_refused_with_what_is_allowed(
    alone: pytest.MonkeyPatch, address: str, told: str
) -> None:
    alone.setenv("RAY_ADDRESS", address)
    with pytest.raises(StudyError, match=told) as caught:
        refuse_silent_cluster()
    assert "unset RAY_ADDRESS" in str(caught.value)


@pytest.mark.parametrize("address", ["", "local", "anyscale://mine"])
def test_what_names_no_machine_is_not_tried(alone: pytest.MonkeyPatch, address: str) -> None:
    alone.setenv("RAY_ADDRESS", address)
    refuse_silent_cluster()


def test_what_answers_otherwise_than_grpc_is_no_cluster(alone: pytest.MonkeyPatch) -> None:
    with listening(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad")) as port:
        alone.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(StudyError, match="what listens there is something else"):
            refuse_silent_cluster()
        alone.setattr("study.search.machine.ANSWERS_WITHIN", 0.5)
        alone.setenv("RAY_USE_TLS", "1")  # so that its words cannot be judged from outside
        with pytest.raises(StudyError, match="no answer of a Ray within"):
            refuse_silent_cluster()


@pytest.mark.usefixtures("ray_cluster")
def test_a_ray_that_runs_answers(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    refuse_silent_cluster()


def test_a_study_ends_at_once_where_a_cluster_is_not_and_ray_is_not_tried(
    alone: pytest.MonkeyPatch,
) -> None:
    alone.setattr("ray.is_initialized", lambda: False)
    alone.setattr("ray.init", lambda **_: pytest.fail("Ray was tried"))
    alone.setattr("study.search.machine.ANSWERS_WITHIN", 0.5)
    config = build_config({}, "here")
    began = time.monotonic()
    alone.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(StudyError, match=r"^RAY_ADDRESS: no Ray"), ray_session(config):
        pytest.fail("no session")

    def as_a_proxy(connection: object) -> None:
        connection.sendall(SETTINGS_OF_HTTP2)  # type: ignore[attr-defined]
        time.sleep(5)

    with listening(as_a_proxy) as port:
        alone.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(StudyError, match="no answer of a Ray within"), ray_session(config):
            pytest.fail("no session")
    assert time.monotonic() - began < 10
