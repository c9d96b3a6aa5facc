"""Ray's own processes are lost: the study ends at once as after Ctrl-C, and can go on.

Each of them alone is lost in `tests/benchmarks/reliability/campaign.py`.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest

from study.storage.command_lines import resume_command
from study.storage.study_folder import StudyFolder

from .conftest import Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SMALL = ["quickstart", "name=mine", "search.trials=12", "training.epochs=8", "data.shots=8"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0"]
IN_TIME = 30.0
"""Seconds from the loss to the end; Ray takes 60, this takes 10 and what a busy machine adds."""


def _kill(driver: psutil.Process) -> None:
    for process in driver.children():
        if process.name() in ("gcs_server", "raylet"):
            process.kill()


def _end_all(driver: psutil.Process) -> None:
    """As systemd, a batch system and a container do."""
    for process in [driver, *driver.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.terminate()


def _end_group(driver: psutil.Process) -> None:
    """As a shell does, to a job."""
    os.killpg(driver.pid, signal.SIGTERM)


LOSSES: dict[str, Callable[[psutil.Process], None]] = {
    "both": _kill,
    "everything": _end_all,
    "group": _end_group,
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_study_without_ray_ends_at_once_and_goes_on(
    what: str, drivers: Drivers, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    lost_at = []

    def meanwhile() -> None:
        while sum(t.read_end() is not None for t in folder.trials()) < 3:
            time.sleep(0.2)
        driver = drivers.running()
        assert driver is not None
        LOSSES[what](driver)
        lost_at.append(time.monotonic())

    status, output = drivers.run(SMALL, tmp_path, meanwhile=meanwhile)
    assert time.monotonic() - lost_at[0] < IN_TIME, output
    assert status == 130, output
    assert "interrupted" in output
    assert resume_command(Path("runs/mine")) in output
    ended = {t.trial_id for t in folder.trials() if t.read_end() is not None}
    status, output = drivers.run(["resume", "mine"], tmp_path)
    assert status == 0, output
    assert ended <= {t.trial_id for t in folder.trials()}
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "RUNNING" not in set(mlflow.search_runs(search_all_experiments=True).status)
