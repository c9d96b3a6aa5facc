"""Whole studies whose storage is full or gone: they wait, or end and are resumed."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.storage.study_folder import StudyFolder

from .conftest import Disk, Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TRIALS, PEERS = 10, 1
SMALL = ["quickstart", "name=mine", f"search.trials={TRIALS}", "training.epochs=40"]
SMALL += ["data.shots=4", "confirm.seeds=[1,2]", "confirm.runners_up=0", "search.asha=null"]
SMALL += ["search.selection=holdout", "search.sampler=random"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """With room for a whole study."""
    disk = Disk(tmp_path, 128)
    yield disk
    disk.close()


@pytest.fixture
def folder(disk: Disk) -> StudyFolder:
    return StudyFolder(disk.path / "runs" / "mine")


@pytest.fixture
def begin(disk: Disk, tiny_backbone: Path) -> list[str]:
    return [*SMALL, f"backbone.name={tiny_backbone}", f"storage={disk.path / 'runs'}"]


def ended(folder: StudyFolder) -> int:
    return len(list(folder.path.glob("trials/search-*/end.json")))


def after(folder: StudyFolder, count: int, do: Callable[[], None]) -> None:
    """Do something once so many trials of the search have ended."""
    deadline = time.monotonic() + 240
    while ended(folder) < count:
        assert time.monotonic() < deadline, "no trial ended"
        time.sleep(0.02)
    do()


def assert_whole(folder: StudyFolder) -> None:
    for trial in folder.trials():
        assert not trial.damaged()
        end = trial.read_end()
        assert end is not None
        assert end.status == "finished", end.error
    assert (folder.path / "report.html").exists()


def test_trials_that_wait_for_mlflow_outlast_storage_that_is_gone_for_a_while(
    disk: Disk, folder: StudyFolder, begin: list[str], drivers: Drivers, tmp_path: Path
) -> None:
    def spoil() -> None:
        while not list(folder.path.glob("trials/*/config.json")):
            time.sleep(0.02)
        database = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, timeout=60)
        database.execute("BEGIN EXCLUSIVE")
        after(folder, 3, disk.take_away)
        database.close()
        time.sleep(8)  # which is longer than MLflow is left alone after a call that it did not take
        disk.bring_back()

    status, output = drivers.run(begin, tmp_path, wait=60.0, meanwhile=spoil)
    assert status == 0, output
    assert "MLflow lacks" not in output
    assert "MLflow refuses" not in output
    assert_whole(folder)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert {run.info.status for run in found} == {"FINISHED"}
    runs = [run for run in found if "trial_id" in run.data.tags]
    trials = [trial.trial_id for trial in folder.trials()]
    assert sorted(run.data.tags["trial_id"] for run in runs) == trials
    for run in runs:
        there = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert there >= {"config.json", "reports.jsonl"}


def test_a_study_that_full_storage_ended_goes_on_afterwards(
    disk: Disk, folder: StudyFolder, begin: list[str], drivers: Drivers, tmp_path: Path
) -> None:
    status, output = drivers.run(
        begin, tmp_path, wait=3.0, meanwhile=lambda: after(folder, 1, disk.fill)
    )
    assert status == 2, output
    told = output.rpartition("error: ")[2]
    assert str(folder.path) in told
    assert "resume mine" in told
    disk.free()
    assert ended(folder) < TRIALS
    status, output = drivers.run(["resume", "mine", f"storage={disk.path / 'runs'}"], tmp_path)
    assert status == 0, output
    assert_whole(folder)
