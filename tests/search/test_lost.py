"""The loss of Ray is noticed, whether a process ends, is silent, or cannot be shut down."""

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray
from clock import Clock

from study.search import lost
from study.search.internals import own_processes, started_here


@contextmanager
def a_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "EVERY", 0.02)
    monkeypatch.setattr(lost, "SHUTS_DOWN_WITHIN", 60.0)
    monkeypatch.setattr(lost, "GIVES_UP_WITHIN", 0.2)
    monkeypatch.setattr(lost, "PATIENCE", 0.3)


@pytest.mark.usefixtures("ray_cluster", "quick")
def test_a_ray_that_works_is_not_lost() -> None:
    assert {"gcs_server", "raylet"} == own_processes().keys()
    ends: list[str] = []
    with lost.ended_with_ray(lambda what, _: ends.append(what)) as leave:
        threading.Event().wait(0.5)
        leave()
        threading.Event().wait(0.5)
    assert not ends
    assert ray.is_initialized()


@pytest.mark.usefixtures("ray_cluster", "quick")
@pytest.mark.parametrize("leaves", [False, True])
def test_a_process_of_ray_that_ended_is_named_once(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    told: queue.Queue[tuple[str, bool]] = queue.Queue()
    with a_process() as process:
        # Ray's own cannot be killed, since other tests use them.
        monkeypatch.setattr(lost, "own_processes", lambda: {"raylet": process})
        with lost.ended_with_ray(lambda *what: told.put(what)) as leave:
            process.kill()
            process.wait()
            if leaves:
                leave()
            assert told.get(timeout=120) == ("Ray's own process raylet has ended", True)
            threading.Event().wait(0.3)
    assert told.empty()


@pytest.mark.usefixtures("ray_cluster", "quick")
def test_a_process_that_ends_as_ray_is_shut_down_is_no_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    with a_process() as process:
        monkeypatch.setattr(lost, "own_processes", lambda: {"raylet": process})
        with lost.ended_with_ray(lambda what, _: told.append(what)) as leave:
            leave()
            process.kill()  # at once: what looks may be on its way
            process.wait()
            threading.Event().wait(0.5)
    assert not told


@pytest.mark.usefixtures("ray_cluster", "quick")
def test_a_ray_that_cannot_be_shut_down_is_lost_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "SHUTS_DOWN_WITHIN", 0.3)
    told: queue.Queue[tuple[str, bool]] = queue.Queue()
    with a_process() as process:
        monkeypatch.setattr(lost, "own_processes", lambda: {"raylet": process})
        with lost.ended_with_ray(lambda *what: told.put(what)) as leave:
            leave()
            process.kill()
            assert told.get(timeout=120) == ("Ray's own process raylet has ended", True)


@pytest.mark.usefixtures("ray_cluster", "quick")
@pytest.mark.parametrize("own", [True, False])
def test_a_head_that_accepts_no_connection_is_lost_after_a_while(
    monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    if not own:
        monkeypatch.setattr(lost, "own_processes", dict)
        monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "0.5")
    assert started_here()
    head = socket.create_server(("127.0.0.1", 0))
    port = head.getsockname()[1]
    watch = lost._Watch()
    watch._address = f"127.0.0.1:{port}"
    clock = Clock()
    monkeypatch.setattr(lost, "time", clock)
    assert watch() is None
    head.close()
    assert watch() is None  # not at once
    clock.now += 0.5
    assert watch() == f"the head of Ray at 127.0.0.1:{port} does not answer any more"
