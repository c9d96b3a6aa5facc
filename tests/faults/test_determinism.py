"""Equal trials give equal bytes, however many workers run them beside each other."""

from collections.abc import Callable

import pytest

from study.search.queues import run_queue
from study.trial import TrialConfig
from tests.tiny_study import TinyStudy, untimed

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.long]


def test_two_workers_give_the_bytes_of_one(make_study: Callable[..., TinyStudy]) -> None:
    search = {"trials": 8, "asha": None, "sampler": "random"}
    one = make_study("one-worker", search=search)
    one.search()
    two = make_study("two-workers", search=search, resources={"max_concurrent": 2})
    # What a search proposes next may depend on which trial ended first.
    configs = [{**trial.read_config(), "optuna_number": None} for trial in one.folder.trials()]
    wanted = [TrialConfig.model_validate(config) for config in configs]
    run_queue(two.study, "search", wanted, {1: two.data}, [two.heard])
    for trial, other in zip(one.folder.trials(), two.folder.trials(), strict=True):
        assert trial.read_config()["config_hash"] == other.read_config()["config_hash"]
        assert untimed(trial) == untimed(other)
        deltas = [*trial.path.glob("delta*.safetensors")]
        assert bool(deltas) == bool(trial.read_config()["trainable"])
        for delta in deltas:
            assert delta.read_bytes() == (other.path / delta.name).read_bytes()
