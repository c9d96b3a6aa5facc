"""How many trials run at once."""

import pytest

from study.commands import concurrency as module
from study.commands.concurrency import describe_concurrency
from study.config.schema import ResourcesConfig
from study.storage.ledger_files import JsonObject
from tests.case_tables import from_table


@from_table
def test_trials_at_once_are_what_fits_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
    given: JsonObject,
    gpus: list[str],
    expected: str,
):
    monkeypatch.setenv("RAY_ADDRESS", "local")  # even on the head of a cluster
    monkeypatch.setattr(module, "count_cores", lambda: 8)
    monkeypatch.setattr(module, "list_gpus", lambda: gpus)
    assert describe_concurrency(ResourcesConfig(**given)) == expected


def test_a_cluster_runs_as_many_trials_as_it_has_room_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert describe_concurrency(ResourcesConfig()) == (
        "as many at once as the cluster has room for, each on 1 CPU core"
    )
    assert describe_concurrency(ResourcesConfig(max_concurrent=4)).startswith("up to 4 at once")
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(module, "joins_cluster", lambda: True)  # of `ray up`
    assert describe_concurrency(ResourcesConfig(cpus_per_trial=8)) == (
        "as many at once as the cluster has room for, each on 8 CPU cores"
    )
