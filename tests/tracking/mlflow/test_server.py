"""Requests to a store that several begin and to a lost experiment, and their errors."""

from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from study.errors import DeltaError, TrackingError
from study.storage.atomic import StorageError
from study.tracking.mlflow.server import is_refusal, open_client
from tests.study_writer import MakeStudy
from tests.tracking.mlflow.records import sync


def _begin(uri: str, together: Any) -> None:
    together.wait()
    assert open_client(uri).search_experiments()


@pytest.mark.long
@pytest.mark.ci
def test_studies_that_begin_a_store_at_once_all_find_its_tables(tmp_path: Path):
    """Without their turns, a migration of MLflow fails in one of the processes."""
    spawn = get_context("spawn")
    given = f"sqlite:///{tmp_path}/new.db", spawn.Barrier(2)
    processes = [spawn.Process(target=_begin, args=given) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_a_deleted_experiment_is_reported(mlflow_server: str, make: MakeStudy):
    client = MlflowClient(mlflow_server)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(TrackingError, match=r"experiment 'gone' on .* was deleted; restore"):
        sync(make("gone"), mlflow_server)


@pytest.mark.parametrize(
    "error, expected",
    [
        (DeltaError("a damaged file"), True),
        (TrackingError("no answer"), False),
        (StorageError("the folder is away"), False),
        (ConnectionError("the connection was cut"), False),
        (MlflowException("oops"), False),
    ],
    ids=repr,
)
def test_only_what_is_about_the_one_thing_that_was_sent_is_a_refusal(
    error: Exception, expected: bool
):
    """The answers of a server are in `tests/faults/test_tracking_server.py`."""
    assert is_refusal(error) is expected
