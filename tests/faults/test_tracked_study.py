"""A whole study whose MLflow server fails, slows down, dies and hangs while it trains."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tracking_server import TrackingServer

from study import run as run_module
from study.storage.ledger import StudyFolder
from study.tracking.mlflow.shown import METRIC_DIGITS, rounded

from .proxy import Proxy, wait_until

SCRIPT = Path(run_module.__file__ or "")


class Place:
    """A server of its own that can be killed and started again, a proxy before it, and a study."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.server = TrackingServer(place / "server")
        self.server.start()
        self.proxy = Proxy(self.server.address)
        self.folder = StudyFolder(place / "runs" / "tested")

    def run(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the command line as a user does."""
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            cwd=self.place,
            env={**os.environ, "MLFLOW_TRACKING_URI": self.proxy.uri}
            | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def study(self) -> "subprocess.Popen[str]":
        """Start a small study."""
        small = ["name=tested", "search.trials=12", "training.epochs=3", "data.shots=4"]
        small += ["search.selection=holdout"]
        return self.run("quickstart", *small, "confirm.seeds=[1,2]", "confirm.runners_up=0")

    def ended(self) -> int:
        """How many trials have ended."""
        return sum(trial.read_end() is not None for trial in self.folder.trials())

    def runs(self) -> list[Run]:
        """All that MLflow has."""
        client = MlflowClient(self.server.address)
        experiments = [e.experiment_id for e in client.search_experiments()]
        return list(client.search_runs(experiments))

    def close(self) -> None:
        """End all."""
        self.proxy.close()
        self.server.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_study_trains_to_its_end_whatever_its_server_does(place: Place, comes_back: bool) -> None:
    proxy, driver = place.proxy, place.study()
    try:
        wait_until(lambda: place.ended() >= 1)
        proxy.fail("500")
        wait_until(lambda: place.ended() >= 3)
        proxy.fail("slow")
        wait_until(lambda: place.ended() >= 5)
        place.server.kill()
        proxy.mend()
        wait_until(lambda: place.ended() >= 7)
        proxy.fail("hang")
        wait_until(lambda: place.ended() >= 12)
        place.server.start()
        if comes_back:
            proxy.mend()
        output, _ = driver.communicate()
    finally:
        driver.kill()
    assert driver.returncode == 0, output
    assert "Traceback" not in output
    if comes_back:
        assert "MLflow lacks" not in output
    else:
        assert "--sync tested" in output
        proxy.mend()
        sync = place.run("--sync", "tested")
        told, _ = sync.communicate()
        assert sync.returncode == 0, told
    trials = {trial.trial_id: trial.read_reports() for trial in place.folder.trials()}
    runs = place.runs()
    assert len(runs) == len(trials) + 1
    assert {r.data.tags["trial_id"] for r in runs if "trial_id" in r.data.tags} == trials.keys()
    assert not {run.info.status for run in runs} & {"RUNNING", "SCHEDULED"}
    client = MlflowClient(place.server.address)
    for run in runs:
        reports = trials.get(run.data.tags.get("trial_id", ""), [])
        scores = {"train_loss", "val_score", "test_score"}
        for key in scores & {*(reports or [{}])[-1]}:
            points = client.get_metric_history(run.info.run_id, key)
            told = [rounded(report[key], METRIC_DIGITS) for report in reports if key in report]
            assert sorted(point.value for point in points) == sorted(told)
    assert place.folder.read_registration() is not None
