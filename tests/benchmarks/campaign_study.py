"""The studies of a campaign of faults: where one runs, what it comes to, and how two differ."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from drivers_client import Drivers
from mlflow import MlflowClient
from proxy import Proxy

from study.errors import StudyError
from study.storage.study_folder import StudyFolder
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
UNLIKE = ("optuna_number", "config_hash")
"""What differs where a proposal was lost with its driver, or where the code has changed since."""
TIMED = ("seconds", "ended_at", "images_per_second", "began_at")
MEGABYTES = 128
MOMENT_WITHIN = 600.0
"""Seconds within which a study comes to the moment of its fault, on a busy machine."""


@dataclass(frozen=True)
class Told:
    """What a study is in the end, without times."""

    trials: Mapping[str, Any]
    """By the id of a trial: its configuration, epochs, end, and the sums of its files."""
    choice: Any
    runs: Mapping[str, Any]
    """By the id of a trial, "" for the study's own: the runs that MLflow has of it."""

    def write(self, path: Path) -> None:
        """Keep it."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Told:
        """Read what `write` kept."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def differences(one: Told, other: Told, most: int = 10) -> list[str]:
    """Return in words how a study differs from its twin."""
    found = []
    for name in ("trials", "runs"):
        mine, its = getattr(one, name), getattr(other, name)
        found += [f"{name}: {key!r} is missing" for key in its.keys() - mine.keys()]
        found += [f"{name}: {key!r} is too much" for key in mine.keys() - its.keys()]
        found += [
            f"{name}: {key!r}{_where(mine[key], its[key])}"
            for key in sorted(mine.keys() & its.keys())
            if mine[key] != its[key]
        ]
    if one.choice != other.choice:
        found.append(f"the choice{_where(one.choice, other.choice)}")
    return found[:most]


def _where(one: Any, other: Any) -> str:
    """Return in words the first place where two values differ, and what stands there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                return f"/{key}{_where(one.get(key), other.get(key))}"
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            if pair[0] != pair[1]:
                return f"/{place}{_where(*pair)}"
    return f" is {one!r}, that of its twin {other!r}"


class Place:
    """A folder in which a study of a kind runs, and an MLflow server of its own behind a proxy."""

    def __init__(self, path: Path, kind: str, drivers: Drivers) -> None:
        self.path = path
        self._drivers = drivers
        self.begin = KINDS[kind]
        self.copies: dict[str, bytes] = {}
        """What was in files before they were damaged, by path."""
        unmount(path / "runs")  # of a campaign that was killed
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.server = TrackingServer(path / "server")
        self.storage = path / "runs"

    def __enter__(self) -> Place:
        # A small disk, which can be filled.
        self.storage.mkdir()
        size = f"size={MEGABYTES}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", self.storage], check=True)
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
    def folder(self) -> StudyFolder:
        """The study's folder."""
        return StudyFolder(self.storage / "mine")

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
        return self._drivers.run(
            words, self.path, store=self.proxy.uri, meanwhile=meanwhile, wait=wait
        )

    def when(self, ended: int, later: float, do: Callable[[], object]) -> None:
        """Do something once so many trials have ended, and some seconds later."""
        deadline = time.monotonic() + MOMENT_WITHIN
        while self.ended() < ended and self.driver() is not None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.ended()} of {ended} trials ended")
            time.sleep(0.05)
        time.sleep(later)
        do()

    def ended(self) -> int:
        """How many trials have ended."""
        return len(list(self.folder.path.glob("trials/*/end.json")))

    def driver(self) -> psutil.Process | None:
        """The process that runs the study, if one does."""
        return self._drivers.running()

    def process(self, name: str) -> psutil.Process | None:
        """A process below the driver whose command begins so, once there is one.

        None if the driver ends before.
        """
        while (driver := self.driver()) is not None:
            with contextlib.suppress(psutil.Error):  # one may end while it is looked at
                for process in driver.children(recursive=True):
                    title = " ".join(process.cmdline())
                    if title.startswith(name) or process.name() == name:
                        return process
            time.sleep(0.02)
        return None

    def put_back(self, said: str) -> None:
        """Put back the damaged files that a message names."""
        flat = re.sub(r"\s", "", said)
        for path, contents in self.copies.items():
            if re.sub(r"\s", "", path) in flat:
                Path(path).write_bytes(contents)

    def told(self) -> Told:
        """What the study is, in its folder and in MLflow."""
        trials = {}
        for trial in self.folder.trials():
            end = trial.read_end()
            config = {k: v for k, v in trial.read_config().items() if k not in UNLIKE}
            reports = [
                {k: v for k, v in report.items() if k not in TIMED}
                for report in trial.read_reports()
            ]
            files = {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for pattern in ("*.safetensors", "predictions.parquet")
                for path in trial.path.glob(pattern)
            }
            if damaged := trial.damaged():
                raise StudyError(f"{trial.trial_id} is damaged: {damaged}")
            trials[trial.trial_id] = _plain(
                [config, reports, end and [end.status, end.epochs, end.reason], files]
            )
        return Told(trials, _plain(self.folder.read_json("candidates.json")), self._runs())

    def _runs(self) -> dict[str, Any]:
        client = MlflowClient(self.server.address)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found: dict[str, Any] = {}
        for run in client.search_runs(experiments):
            names = sorted(artifact.path for artifact in client.list_artifacts(run.info.run_id))
            epochs = len(client.get_metric_history(run.info.run_id, "train_loss"))
            own = found.setdefault(run.data.tags.get("trial_id", ""), [])
            own.append(_plain([run.info.status, epochs, names]))
        return found


def unmount(folder: Path) -> None:
    """Take away every disk that is mounted on a folder, which may be one on another."""
    while folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


def _plain(value: object) -> Any:
    """Return a value as it is after it was kept as JSON."""
    return json.loads(json.dumps(value))
