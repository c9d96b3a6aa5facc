"""Workers of this machine have imported and loaded what trials need before a trial asks for it."""

import time

import pytest
import ray

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.search import warmup


def _loaded() -> tuple[int, int]:
    """How many backbones this worker has, and its process; two at once are in two workers."""
    import os

    from study.search import trainable

    time.sleep(0.5)
    return trainable.load_once.cache_info().currsize, os.getpid()


def loaded() -> dict[int, int]:
    """How many backbones the two workers have, by process."""
    there, found = ray.remote(num_cpus=1)(_loaded), dict[int, int]()
    while len(found) < 2:  # one may get both tasks
        found |= {process: count for count, process in ray.get([there.remote() for _ in range(2)])}
    return found


def config(**changes: object) -> StudyConfig:
    return build_config({"name": "warm", **changes}, "warm")


@pytest.mark.usefixtures("ray_cluster")
def test_each_slot_loads_the_backbone_and_what_comes_next_finds_it_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = loaded()
    for cold in (
        config(resources={"gpus_per_trial": 1}),
        config(training={"precision": "auto"}),
    ):
        warmup.warm_up(cold)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(warmup, "started_here", lambda: False)
        warmup.warm_up(config())
    assert loaded() == before
    warmup.warm_up(config())
    assert loaded() == dict.fromkeys(before, 1)
