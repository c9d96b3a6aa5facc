"""Workers that stand still are ended in time, and no others."""

import os
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray

from study.search import hung_workers
from study.search.hung_workers import HungWorkers
from study.storage import atomic
from tests.clock import Clock

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which workers are silent."""
    clock = Clock()
    monkeypatch.setattr(hung_workers, "GRACE", 0.1)
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(hung_workers, "time", clock)
    return clock


def start_worker() -> Any:
    """Start an actor whose class travels to it, so that it imports nothing of this project."""

    class Worker:
        def pid(self) -> int:
            return os.getpid()

    return ray.remote(Worker).remote()


def trial(name: str, actor: Any) -> Any:
    """What is read of a trial of Tune's."""
    return SimpleNamespace(trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor))


@pytest.mark.long
def test_a_stopped_process_is_killed_once_its_time_and_the_grace_are_over(
    clock: Clock,
):
    worker = start_worker()
    process = psutil.Process(ray.get(worker.pid.remote()))
    workers, mine = HungWorkers(limit=0.2), trial("mine", worker)
    workers.record_sign_of_life(mine)
    process.suspend()
    clock.now += 0.4
    workers.end()
    assert not workers.ended  # not before
    clock.now += 0.2
    workers.end()
    assert workers.ended == {"mine"}
    process.wait(timeout=60)
    workers.record_sign_of_life(mine)  # which another process continues
    assert not workers.ended


def test_others_are_left_alone(clock: Clock):
    worker = start_worker()
    workers = HungWorkers(limit=0.0)
    trials = ended, _, reporting = trial("a", worker), trial("waits", None), trial("b", worker)
    for each in trials:
        workers.record_sign_of_life(each)
    clock.now += 0.4
    workers.remove(ended)
    workers.record_sign_of_life(reporting)
    workers.end()
    assert not workers.ended
    unlimited = HungWorkers(limit=None)
    unlimited.record_sign_of_life(ended)
    clock.now += 1000
    unlimited.end()
    assert not unlimited.ended
    assert ray.get(worker.pid.remote())
