"""Ray's own processes are lost: the study ends at once as after Ctrl-C, and can go on."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest

from study.storage.ledger import StudyFolder

from .conftest import Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SMALL = ["quickstart", "name=mine", "search.trials=12", "training.epochs=8", "data.shots=8"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0"]
IN_TIME = 30.0
"""Seconds from the loss to the end; Ray takes 60, this takes 10 and what a busy machine adds."""


def _driver(place: Path) -> psutil.Process:
    """Find the process that runs the study in a folder."""
    found = [
        process.parent()
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "gcs_server" and process.info["cwd"] == str(place)
    ]
    assert len(found) == 1
    assert found[0] is not None
    return found[0]


def _kill(name: str) -> Callable[[psutil.Process], None]:
    def kill(driver: psutil.Process) -> None:
        (process,) = (p for p in driver.children() if p.name() == name)
        process.kill()

    return kill


def _end_all(driver: psutil.Process) -> None:
    """As systemd, a batch system and a container do."""
    for process in [driver, *driver.children(recursive=True)]:
        process.terminate()


def _end_group(driver: psutil.Process) -> None:
    """As a shell does, to a job."""
    os.killpg(driver.pid, signal.SIGTERM)


def _kill_agent(driver: psutil.Process) -> None:
    """Ray's raylet says that it goes, before it does."""
    (raylet,) = (p for p in driver.children() if p.name() == "raylet")
    (agent,) = (p for p in raylet.children() if "RuntimeEnvAgent" in p.cmdline()[0])
    agent.kill()


LOSSES: dict[str, tuple[Callable[[psutil.Process], None], str]] = {
    "gcs": (_kill("gcs_server"), "since Ray's own process gcs_server has ended"),
    "raylet": (_kill("raylet"), "since Ray's own process raylet has ended"),
    "agent": (_kill_agent, "since Ray's own process RuntimeEnvAgent has ended"),
    "everything": (_end_all, "interrupted"),
    "group": (_end_group, "interrupted before all its trials had ended"),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_study_without_ray_ends_at_once_and_goes_on(
    what: str, drivers: Drivers, tmp_path: Path
) -> None:
    lose, told = LOSSES[what]
    folder = StudyFolder(tmp_path / "runs" / "mine")
    lost_at: list[float] = []

    def meanwhile() -> None:
        while sum(t.read_end() is not None for t in folder.trials()) < 3:
            time.sleep(0.2)
        lose(_driver(tmp_path))
        lost_at.append(time.monotonic())

    status, output = drivers.run(SMALL, tmp_path, meanwhile=meanwhile)
    assert time.monotonic() - lost_at[0] < IN_TIME, output
    assert status == 130, output
    assert told in output
    assert "clipfit-study run --resume mine" in output
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    closed_by = lost_at[0] + IN_TIME
    while "RUNNING" in (states := Counter(mlflow.search_runs(search_all_experiments=True).status)):
        assert time.monotonic() < closed_by, states
        time.sleep(0.2)
    ended = {t.trial_id for t in folder.trials() if t.read_end() is not None}
    status, output = drivers.run(["--resume", "mine"], tmp_path)
    assert status == 0, output
    assert ended <= {t.trial_id for t in folder.trials()}
