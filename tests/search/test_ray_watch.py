"""The loss of Ray is noticed, whether a process ends or the head of a cluster is silent."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from study.errors import INTERRUPTED
from study.search import ray_watch
from tests.clock import Clock
from tests.faults.proxy import wait_until

Messages = queue.Queue[tuple[str, str]]


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch) -> Messages:
    """What would have ended this process."""
    message: Messages = queue.Queue()
    monkeypatch.setattr(ray_watch, "EVERY", 0.02)
    monkeypatch.setattr(ray_watch, "_end", lambda *what: message.put(what))
    return message


@pytest.fixture
def raylet(message: Messages, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the place of Ray's own, which other tests use."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(ray_watch, "own_processes", lambda: [process])
    yield process
    process.kill()
    process.wait()


def test_a_process_of_ray_that_ends_is_reported_once(
    raylet: subprocess.Popen[bytes], message: Messages
):
    with ray_watch.exit_if_ray_is_lost("go on"):
        threading.Event().wait(0.2)
        assert message.empty()
        raylet.kill()
        assert message.get(timeout=120) == ("one of Ray's processes ended", "go on")
        threading.Event().wait(0.2)
    assert message.empty()


def test_a_process_that_ends_as_ray_is_shut_down_is_no_loss(
    raylet: subprocess.Popen[bytes], message: Messages
):
    with ray_watch.exit_if_ray_is_lost("go on"):
        pass
    raylet.kill()
    raylet.wait()
    threading.Event().wait(0.3)
    assert message.empty()


@pytest.mark.usefixtures("message")
def test_a_head_that_is_silent_is_lost_after_a_while(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(ray_watch, "time", clock)
    answers = [False, True, False, False, True]

    def nodes():
        clock.now += 30
        if not answers.pop(0):
            raise ConnectionError

    monkeypatch.setattr(ray, "nodes", nodes)
    ray_watch._wait_for_silence(threading.Event())
    assert answers == [True]


@pytest.mark.usefixtures("message")
def test_a_clock_that_is_set_far_back_is_reported(monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(ray_watch, "time", clock)
    times = iter([100.0, 50.0, 86500.0, 86460.0, 100.0])
    clock.time = lambda: next(times)
    ray_watch._wait_for_clock(threading.Event())
    assert not [*times]


STANDING = """
import os, signal
import ray
from study.search import ray_watch

ray.init(address="local", include_dashboard=False, num_cpus=1, log_to_driver=False)
pid = ray.get(ray.remote(lambda: os.getpid()).remote())
os.kill(pid, signal.SIGSTOP)
print(pid, flush=True)
ray_watch._end("it is lost", "go on")
"""


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="children of processes are read from /proc")
def test_the_end_of_a_study_leaves_no_worker():
    ran = subprocess.run(
        [sys.executable, "-c", STANDING], capture_output=True, text=True, check=False
    )
    assert ran.returncode == INTERRUPTED
    assert "it is lost; to continue, run\n  go on" in ran.stderr
    process = Path("/proc", ran.stdout.split()[0])
    wait_until(lambda: not process.exists() or "Z" in (process / "stat").read_text().split())
