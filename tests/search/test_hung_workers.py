"""Workers that stand still are ended in time, and no others."""

from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray

from study.search import hung_workers
from study.search.hung_workers import HungWorkers
from study.storage import atomic

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock by which workers are silent, which the tests move."""
    monkeypatch.setattr(hung_workers, "GRACE", 0.1)
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.2)
    moved = SimpleNamespace(now=100.0)
    moved.monotonic = lambda: moved.now
    monkeypatch.setattr(hung_workers, "time", moved)
    return moved


def trial(name: str, actor: Any) -> Any:
    """What is read of a trial of Tune's."""
    return SimpleNamespace(trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor))


def test_a_stopped_process_is_killed_once_its_time_and_the_grace_are_over(
    clock: SimpleNamespace,
) -> None:
    worker = ray.remote(_Worker).remote()
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


@pytest.mark.parametrize(
    "why", ["no limit", "it has ended", "it waits for a machine", "it reports"]
)
def test_others_are_left_alone(why: str, clock: SimpleNamespace) -> None:
    worker = None if why == "it waits for a machine" else ray.remote(_Worker).remote()
    workers = HungWorkers(limit=None if why == "no limit" else 0.0)
    mine = trial("mine", worker)
    workers.record_sign_of_life(mine)
    clock.now += 0.4
    if why == "it has ended":
        workers.remove(mine)
    if why == "it reports":
        workers.record_sign_of_life(mine)
    workers.end()
    assert not workers.ended
    if worker is not None:
        assert ray.get(worker.pid.remote())


class _Worker:
    def pid(self) -> int:
        return int(psutil.Process().pid)
