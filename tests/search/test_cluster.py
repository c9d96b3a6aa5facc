"""Where trials would run is looked at before they are asked for."""

import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
import ray

from study.errors import ClusterError, StudyError
from study.search.cluster import (
    BOOTSTRAP,
    cluster_address,
    joins_cluster,
    refuse_insufficient,
    refuse_unreachable_cluster,
)
from study.search.driver import ray_session
from tests.ports import listening

DEAD = "127.0.0.1:9"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine in no cluster, with a home and a Ray of its own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("study.search.ray_internals.CLUSTER_ANSWERS_WITHIN", 0.5)
    return monkeypatch


def test_more_than_this_machine_has_is_refused_without_a_cluster(alone: pytest.MonkeyPatch):
    refuse_insufficient(0.5, 4, "CPU cores")
    with pytest.raises(StudyError, match=r"^5 per trial, but this machine has 4 CPU cores; .*4 or"):
        refuse_insufficient(5, 4, "CPU cores")
    alone.setenv("RAY_ADDRESS", "head:6379")
    refuse_insufficient(5, 4, "CPU cores")


def test_a_cluster_is_joined_if_named_or_on_the_head_of_ray_up(alone: pytest.MonkeyPatch):
    assert not joins_cluster()
    Path(BOOTSTRAP).expanduser().touch()
    assert cluster_address() == "auto"
    for named in ("10.0.0.2:6379", "local"):
        alone.setenv("RAY_ADDRESS", named)
        assert cluster_address() == named
        assert joins_cluster() == (named != "local")


@pytest.mark.parametrize("address", [DEAD, "head", "head:port", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_refused(alone: pytest.MonkeyPatch, address: str):
    for named in ("", "local", "auto", "anyscale://mine"):
        alone.setenv("RAY_ADDRESS", named)
        refuse_unreachable_cluster()
    alone.setenv("RAY_ADDRESS", address)
    with pytest.raises(StudyError, match=f"responds at '{address}' .* RAY_ADDRESS=local"):
        refuse_unreachable_cluster()


def test_a_cluster_that_answers_is_not_refused(ray_cluster: None, alone: pytest.MonkeyPatch):
    alone.setattr("study.search.ray_internals.CLUSTER_ANSWERS_WITHIN", 120.0)
    alone.setenv("RAY_ADDRESS", str(ray.get_runtime_context().gcs_address))
    refuse_unreachable_cluster()


@pytest.fixture
def init(alone: pytest.MonkeyPatch) -> Mock:
    """Ray's own start, which raises instead."""
    init = Mock()
    alone.setattr(ray, "is_initialized", lambda: False)
    alone.setattr(ray, "init", init)
    alone.setattr(ray, "shutdown", lambda: None)  # another test may use the Ray of this process
    return init


def test_a_silent_cluster_ends_a_study_before_ray_is_tried(alone: pytest.MonkeyPatch, init: Mock):
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        alone.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        refused = pytest.raises(StudyError, match=rf"^RAY_ADDRESS: no Ray .*{port}' \(no an")
        with refused, ray_session() as start:
            start.result()
        over.set()
    init.assert_not_called()


def test_a_ray_that_does_not_start_is_reported_in_one_line(init: Mock):
    init.side_effect = RuntimeError("Version mismatch:\n    Ray: 2.0")
    reported = pytest.raises(ClusterError, match="did not start: Version mismatch")
    with reported, ray_session() as start:
        start.result()
