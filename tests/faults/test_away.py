"""Whole studies whose storage is full, gone or read-only: they wait, or end and are resumed."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.storage.ledger import StudyFolder, TrialFolder

from .conftest import Disk, Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TRIALS, PEERS = 10, 1
SMALL = ["quickstart", "name=mine", f"search.trials={TRIALS}", "training.epochs=40"]
SMALL += ["data.shots=4", "confirm.seeds=[1,2]", "confirm.runners_up=0", "search.asha=null"]
SMALL += ["search.selection=holdout", "search.sampler=random"]
LONG, SHORT = 60.0, 3.0
"""Seconds that drivers and workers wait, and how long storage is away where it comes back."""


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
    search = [t for t in map(TrialFolder.read_config, folder.trials()) if t["stage"] == "search"]
    asked_for = [trial for trial in search if trial["arm"] != "variant"]
    assert [trial["number"] for trial in asked_for] == list(range(TRIALS + PEERS))
    assert [trial["number"] for trial in search] == list(range(len(search)))
    for trial in folder.trials():
        assert not trial.damaged()
        assert trial.read_end() is not None
        assert trial.read_end().status == "finished", trial.read_end().error
        epochs = [report["epoch"] for report in trial.read_reports()]
        assert epochs in ([0], list(range(1, trial.read_end().epochs + 1)))
    assert (folder.path / "report.html").exists()


def test_storage_that_is_full_or_gone_for_a_while_costs_that_while(
    disk: Disk, folder: StudyFolder, begin: list[str], drivers: Drivers, tmp_path: Path
) -> None:
    beside: list[Path] = []

    def spoil() -> None:
        after(folder, 1, disk.fill)
        time.sleep(SHORT)
        disk.free()
        after(folder, 4, disk.take_away)
        time.sleep(SHORT)
        beside.extend(disk.path.iterdir())
        disk.bring_back()

    status, output = drivers.run(begin, tmp_path, wait=LONG, meanwhile=spoil)
    assert status == 0, output
    assert "Traceback" not in output
    assert not beside, "a study was written beside a share that was gone"
    assert_whole(folder)


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

    status, output = drivers.run(begin, tmp_path, wait=LONG, meanwhile=spoil)
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


def test_storage_that_stays_away_ends_a_study_by_name_and_it_goes_on_afterwards(
    disk: Disk, folder: StudyFolder, begin: list[str], drivers: Drivers, tmp_path: Path
) -> None:
    resume = ["resume", "mine", f"storage={disk.path / 'runs'}"]
    full, output = drivers.run(
        begin, tmp_path, wait=SHORT, meanwhile=lambda: after(folder, 1, disk.fill)
    )
    assert (full, "No space left on device" in output) == (2, True), output
    told = output.rpartition("error: ")[2]
    assert str(folder.path) in told
    assert f"nor could it within {SHORT:g} seconds" in told
    assert "resume mine" in told
    disk.free()
    begun = ended(folder)
    assert begun < TRIALS
    gone, output = drivers.run(
        resume, tmp_path, wait=SHORT, meanwhile=lambda: after(folder, begun + 1, disk.take_away)
    )
    told = output.rpartition("error: ")[2]
    assert (gone, "No such file or directory" in told) == (2, True), output
    disk.bring_back()
    disk.allow_writing(False)
    locked, output = drivers.run(resume, tmp_path, wait=SHORT)
    assert locked == 2
    assert f"{folder.path} cannot be written" in output
    assert "Traceback" not in output
    disk.allow_writing(True)
    status, output = drivers.run(resume, tmp_path, wait=SHORT)
    assert status == 0, output
    assert_whole(folder)
