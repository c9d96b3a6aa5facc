"""The studies of a campaign of faults: where one runs, what it comes to, and how two differ."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import yaml
from mlflow import MlflowClient

from study.errors import StudyError
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import TrialFolder
from tests.faults.drivers_client import Drivers
from tests.faults.proxy import Proxy
from tests.tracking_server import TrackingServer

KINDS: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    Path(__file__).with_name("kinds.yaml").read_text()
)
"""What each kind of study is, see there."""
DISK = "size=128m"
UNLIKE = ("config_hash",)
"""What differs where a proposal was lost with its driver, or where the code has changed since."""
TIMED = ("seconds", "ended_at", "images_per_second", "began_at")


class Place:
    """A folder in which a study of a kind runs, and an MLflow server of its own behind a proxy."""

    def __init__(self, path: Path, kind: str, drivers: Drivers) -> None:
        self.path = path
        self.base = KINDS[kind].get("base")
        self.begin = words_of(kind)
        self.started_by = words_of(self.base or kind)
        """The command line that makes a study of nothing."""
        self.trials = KINDS[kind].get("trials", "*")
        """The names of the trials during which the fault comes."""
        self._drivers = drivers
        self.environment: dict[str, str] = {}
        """Of the study's processes, beside their own."""
        self.temporary = self.memory_limit = Path()
        """What some faults need, see `campaign_faults`."""
        self.ends = ExitStack()
        """What is closed and given back in the end."""
        self.copies: dict[str, bytes] = {}
        """What was in files before they were damaged, by path."""
        self.storage = path / "runs"
        self.folder = StudyFolder(self.storage / "mine")
        unmount(self.storage)  # of a campaign that was killed
        shutil.rmtree(path, ignore_errors=True)
        (path / "mine").mkdir(parents=True)
        self.server = TrackingServer(path / "server")

    def __enter__(self) -> Place:
        # A small disk, which can be filled.
        self.storage.mkdir()
        mount(self.storage, DISK)
        self.ends.callback(unmount, self.storage)
        empty = self.path.with_name("empty.db")  # whose tables take MLflow seconds to make
        if self.base:
            base = self.path.with_name(f"twin-{self.base}")
            shutil.copytree(base / "finished", self.folder.path)
            shutil.copytree(base / "server", self.path / "server", dirs_exist_ok=True)
        elif empty.exists():
            shutil.copy(empty, self.server.database)
        self.server.start()
        self.ends.callback(self.server.kill)
        if not empty.exists():
            shutil.copy(self.server.database, empty)
        self.proxy = Proxy(self.server.address)
        self.ends.callback(self.proxy.close)
        self.environment["MLFLOW_TRACKING_URI"] = self.proxy.uri
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.close()

    def drive_by(self, *prefix: str) -> None:
        """Let all further commands be executed by a command."""
        self._drivers = Drivers(prefix)
        self.ends.callback(self._drivers.close)

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        config = self.folder.config_path
        if not config.exists():  # it may have been deleted
            return self.folder.exists()
        return self.begin[-1].partition("=")[2] in config.read_text()

    @property
    def again(self) -> list[str]:
        """The command line that goes on, or begins where nothing has begun."""
        finished = (self.folder.path / DESCRIPTION).exists()
        if not self.begun and finished == bool(self.base):
            return self.begin
        return ["resume", "mine"]

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
            words, self.path / "mine", environment=self.environment, meanwhile=meanwhile, wait=wait
        )

    def run_beside(self) -> None:
        """Run another study of the same kind, or of its base, in the same storage and MLflow.

        Raises:
            RuntimeError: it does not end well.
        """
        folder = self.path / "other"
        folder.mkdir()
        words = [*self.started_by, f"storage={self.storage}"]
        words[words.index("name=mine")] = "name=other"
        with closing(Drivers()) as drivers:
            status, output = drivers.run(words, folder, environment=self.environment)
        if status:
            raise RuntimeError(f"the other study failed:\n{output}")

    def wait_until(self, ended: int, later: float) -> None:
        """Wait until so many trials have ended, and some seconds more."""
        pattern = f"trials/{self.trials}/end.json"
        while self.driver() is not None and len([*self.folder.path.glob(pattern)]) < ended:
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
        """Put back the damaged files that a message names, and an address of Ray."""
        if "RAY_ADDRESS" in message:
            self.environment.pop("RAY_ADDRESS", None)
        flat = re.sub(r"\s", "", message)
        for path, contents in self.copies.items():
            if re.sub(r"\s", "", path) in flat:
                Path(path).write_bytes(contents)

    def contents(self, name: str = "mine") -> Any:
        """Return what a study is without times, in its folder and in MLflow, as JSON has it."""
        folder = StudyFolder(self.storage / name)
        contents = {
            "trials": {trial.trial_id: trial_contents(trial) for trial in folder.trials()},
            "candidates": folder.read_json("candidates.json"),
            "runs": self._runs(name),
        }
        labels = folder.path / "labels.csv"
        if labels.exists():
            contents[labels.name] = sorted(labels.read_text().splitlines())
        return json.loads(json.dumps(contents))

    def _runs(self, name: str) -> dict[str, list[Any]]:
        """Return the runs that MLflow has of each trial, and under "" those of the study itself."""
        client = MlflowClient(self.server.address)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs: dict[str, list[Any]] = {}
        for run in client.search_runs(experiments, f"tags.study = '{name}'"):
            names = sorted(artifact.path for artifact in client.list_artifacts(run.info.run_id))
            epochs = len(client.get_metric_history(run.info.run_id, "train_loss"))
            of_trial = runs.setdefault(run.data.tags.get("trial_id", ""), [])
            of_trial.append([run.info.status, epochs, names])
        versions = client.search_model_versions(f"tags.study = '{name}'")
        registered = Counter(version.tags["trial_id"] for version in versions)
        for trial, count in registered.items():
            if count > 1:  # a busy machine may not come to the first
                runs[trial].append(f"registered {count} times")
        return runs


def words_of(kind: str) -> list[str]:
    """Return the command line of a kind."""
    folder = Path(__file__).parent
    return [word.format(folder=folder) for word in KINDS[kind]["words"].split()]


def mount(folder: Path, options: str) -> None:
    """Mount a disk in memory on a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def unmount(folder: Path) -> None:
    """Take away every disk that is mounted on a folder, which may be one on another."""
    while folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


def trial_contents(trial: TrialFolder) -> list[Any]:
    """Return a trial's configuration, epochs, end and the hashes of its files, without times.

    Raises:
        StudyError: the trial is damaged.
    """
    damage = trial.damaged()
    if damage:
        raise StudyError(f"{trial.trial_id} is damaged: {damage}")
    config = {key: value for key, value in trial.read_config().items() if key not in UNLIKE}
    reports = []
    for report in trial.read_reports():
        reports.append({key: value for key, value in report.items() if key not in TIMED})
    hashes = {}
    for pattern in ("*.safetensors", "predictions.parquet"):
        for path in trial.path.glob(pattern):
            hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    end = trial.read_end()
    ending: list[Any] = []
    if end is not None:
        ending = [end.status, end.epochs]
        if end.status != "finished":  # that of a finished one tells which training it was
            ending.append(end.reason)
    return [config, reports, ending, hashes]


def differences(one: Any, other: Any) -> Iterator[str]:
    """Yield in words each value that two nested lists and dicts do not share."""
    old, new = dict(flatten(one)), dict(flatten(other))
    for place in sorted(old.keys() | new.keys()):
        pair = old.get(place, "missing"), new.get(place, "missing")
        if pair[0] != pair[1]:
            yield f"{place} is {pair[0]}, in the other {pair[1]}"


def flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in nested lists and dicts with its place, and the length of each."""
    if isinstance(value, dict | list):
        yield f"{place}/length", len(value)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from flatten(inner, f"{place}/{key}")
    else:
        yield place, value
