"""The studies of a campaign of faults: where one runs, and what it comes to."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from mlflow import MlflowClient

from study.storage.study_folder import StudyFolder
from tests.benchmarks.reliability.study_contents import trial_contents
from tests.faults.drivers_client import Drivers
from tests.faults.proxy import Proxy
from tests.tracking_server import TrackingServer

ALIKE = ["name=mine", "resources.max_concurrent=1", "search.asha=null", "search.sampler=random"]
ALIKE += ["search.space.neighbours=false", "confirm.runners_up=0", "confirm.seeds=[1,2]"]
KINDS: Mapping[str, list[str]] = {
    "few_shot": [
        *("quickstart", *ALIKE, "search.trials=8", "training.epochs=3", "data.shots=4"),
        "search.selection=holdout",
    ],
    "base_to_new": [
        *("base_to_new", *ALIKE, "search.trials=8", "training.epochs=2", "data.shots=2"),
    ],
    "ablation": [
        *("ablation", "name=mine", "resources.max_concurrent=1", "confirm.seeds=[1,2]"),
        *("ablation.rates=[0.1]", "ablation.extend=false", "training.epochs=2", "data.shots=4"),
    ],
}
"""The command line of each kind."""
DISK = "size=128m"
MOMENT_WITHIN = 600.0
"""Seconds within which a study comes to the moment of its fault, on a busy machine."""


class Place:
    """A folder in which a study of a kind runs, and an MLflow server of its own behind a proxy."""

    def __init__(self, path: Path, kind: str, drivers: Drivers) -> None:
        self.path = path
        self._drivers = drivers
        self.begin = KINDS[kind]
        self.copies: dict[str, bytes] = {}
        """What was in files before they were damaged, by path."""
        self.storage = path / "runs"
        self.folder = StudyFolder(self.storage / "mine")
        unmount(self.storage)  # of a campaign that was killed
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.server = TrackingServer(path / "server")

    def __enter__(self) -> Place:
        # A small disk, which can be filled.
        self.storage.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", self.storage], check=True)
        empty = self.path.with_name("empty.db")  # whose tables take MLflow seconds to make
        if empty.exists():
            shutil.copy(empty, self.server.database)
        self.server.start()
        if not empty.exists():
            shutil.copy(self.server.database, empty)
        self.proxy = Proxy(self.server.address)
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.close()
        self.server.kill()
        unmount(self.storage)

    @property
    def again(self) -> list[str]:
        """The command line that goes on, or begins where nothing has begun."""
        if self.folder.config_path.exists():
            return ["resume", "mine"]
        return self.begin

    def run(
        self,
        *arguments: str,
        meanwhile: Callable[[], object] = lambda: None,
        wait: float | None = None,
    ) -> tuple[int, str]:
        """Run the command line to its end; return its exit status and what it printed.

        Args:
            arguments: of the command line.
            meanwhile: is called once the process runs.
            wait: how long it and its workers wait for storage, in seconds.
        """
        words = [*arguments, f"storage={self.storage}"]
        store = self.proxy.uri
        return self._drivers.run(words, self.path, store=store, meanwhile=meanwhile, wait=wait)

    def wait_until(self, ended: int, later: float) -> None:
        """Wait until so many trials have ended, and some seconds more."""
        deadline = time.monotonic() + MOMENT_WITHIN
        while self.driver() is not None:
            if len(list(self.folder.path.glob("trials/*/end.json"))) >= ended:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ended} trials have not ended")
            time.sleep(0.05)
        time.sleep(later)

    def driver(self) -> psutil.Process | None:
        """Return the process that runs the study, if one does."""
        return self._drivers.running()

    def process(self, name: str) -> psutil.Process | None:
        """Return the driver, or a process below it whose command begins so, once there is one.

        None if the driver ends before.
        """
        while (driver := self.driver()) is not None:
            if name == "driver":
                return driver
            with contextlib.suppress(psutil.Error):  # one may end while it is looked at
                for process in driver.children(recursive=True):
                    title = " ".join(process.cmdline())
                    if title.startswith(name) or process.name() == name:
                        return process
            time.sleep(0.02)
        return None

    def put_back(self, message: str) -> None:
        """Put back the damaged files that a message names."""
        flat = re.sub(r"\s", "", message)
        for path, contents in self.copies.items():
            if re.sub(r"\s", "", path) in flat:
                Path(path).write_bytes(contents)

    def contents(self) -> Any:
        """Return what the study is without times, in its folder and in MLflow, as JSON has it."""
        contents = {
            "trials": {trial.trial_id: trial_contents(trial) for trial in self.folder.trials()},
            "choice": self.folder.read_json("candidates.json"),
            "runs": self._runs(),
        }
        return json.loads(json.dumps(contents))

    def _runs(self) -> dict[str, list[Any]]:
        """Return the runs that MLflow has of each trial, and under "" those of the study itself."""
        client = MlflowClient(self.server.address)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs: dict[str, list[Any]] = {}
        for run in client.search_runs(experiments):
            names = sorted(artifact.path for artifact in client.list_artifacts(run.info.run_id))
            epochs = len(client.get_metric_history(run.info.run_id, "train_loss"))
            of_trial = runs.setdefault(run.data.tags.get("trial_id", ""), [])
            of_trial.append([run.info.status, epochs, names])
        return runs


def unmount(folder: Path) -> None:
    """Take away every disk that is mounted on a folder, which may be one on another."""
    while folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)
