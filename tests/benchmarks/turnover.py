"""Machines that come and go under a study: is a finished result lost, and how much is done twice?

    python tests/benchmarks/turnover.py                       # 8 machines of 8 slots, 10 minutes
    python tests/benchmarks/turnover.py --machines 2 --slots 2 --every 15 --trials 12 --sleep 1

A machine is a raylet of its own on this computer. In turn one is lost without a word and another
one joins. Searcher, successive halving, ledger, mirror and what a worker records of an epoch and
goes on from are those of a study; only the training is left out: an epoch sleeps and gives a score.
Each epoch is noted as it ends, beside the study, so that what was done twice can be counted.

The exit code is 1 if anything that had ended is lost or has changed, a trial has failed, is missing
or in parts, or a departure cost a trial more than an epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from paired import machine
from ray.cluster_utils import Cluster

from study.config.loading import build_config, dump_config
from study.search import driver, stages
from study.search.recording import load_state
from study.search.trainable import ClipFitTrainable
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.trial import EpochReport, TrialConfig
from study.trial.prepare import Preparer
from study.trial.study import Study

NOTES, SLEEP = "TURNOVER_NOTES", "TURNOVER_SLEEP"


class Sleeping(ClipFitTrainable):
    """A worker whose trials have no model: each epoch sleeps. All else is that of the package."""

    def _start(self) -> Iterator[EpochReport]:
        self._trial_data = self._data[f"{self._trial.stage}/{self._trial.seed}"]
        self._info = self._describe("none")
        start = load_state(self._folder)
        self._folder.keep_reports(start[0] if start else 0)
        return self._sleep(start[0] if start else 0)

    def _sleep(self, done: int) -> Iterator[EpochReport]:
        chance = random.Random(self._trial.trial_id)
        worth, epochs = chance.random(), self._trial.epochs
        for epoch in range(min(done, epochs - 1) + 1, epochs + 1):
            time.sleep(float(os.environ[SLEEP]))
            self._note(epoch)
            score = worth * epoch / max(epochs, 1)
            metrics = {"train_loss": 1.0, "cross_entropy": 0.5, "distillation": 0.5, "seconds": 0.1}
            metrics |= {"bias_lr": 0.1, "ln_lr": 0.1, "images_per_second": 100.0}
            metrics |= {"val_score": score, "val_accuracy": score}
            state = {} if epoch == epochs else {"task0.parameter.none": torch.zeros(1)}
            yield EpochReport(epoch, epoch == epochs, metrics, state, (), [])

    def _note(self, epoch: int) -> None:
        path = Path(os.environ[NOTES]) / f"{os.getpid()}.jsonl"
        with path.open("a", encoding="utf-8") as file:
            print(json.dumps([self._trial.trial_id, time.time(), os.getpid(), epoch]), file=file)


class Ends:
    """Observes a study: the file of each trial's end, as it was when the study told of it."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self.told: dict[str, tuple[bytes, bytes]] = {}

    def trial_started(self, config: Any) -> None:
        """See `study.search.ledger_callback.Observer`."""

    def trial_reported(self, config: Any, epoch: int, metrics: Any) -> None:
        """See `study.search.ledger_callback.Observer`."""

    def trial_ended(self, config: Any, end: Any, score: float | None) -> None:
        """See `study.search.ledger_callback.Observer`."""
        self.told[config.trial_id] = contents(self._folder.trial(config.trial_id))


def contents(trial: TrialFolder) -> tuple[bytes, bytes]:
    """Return the bytes of a trial's reports and of its end; empty where there is no such file."""
    return trial.read("reports.jsonl") or b"", trial.read("end.json") or b""


class Turnover(threading.Thread):
    """Loses a machine and lets another one join, in turn, until it is told to stop."""

    def __init__(self, cluster: Cluster, machines: int, slots: int, every: float) -> None:
        super().__init__(daemon=True)
        self._cluster, self._slots, self._every = cluster, slots, every
        self._nodes = [cluster.add_node(num_cpus=slots, wait=False) for _ in range(machines)]
        self._chance, self.over = random.Random(0), threading.Event()
        self.lost = self.joined = 0

    def run(self) -> None:
        """Lose or join."""
        while not self.over.wait(self._every):
            if self.lost == self.joined:
                node = self._nodes.pop(self._chance.randrange(len(self._nodes)))
                self._cluster.remove_node(node, allow_graceful=False)
                self.lost += 1
            else:
                self._nodes.append(self._cluster.add_node(num_cpus=self._slots, wait=False))
                self.joined += 1


def main() -> int:
    """Run one study on machines that come and go, and print what it cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--machines", type=int, default=8)
    parser.add_argument("--slots", type=int, default=8, help="of each machine")
    parser.add_argument("--trials", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--sleep", type=float, default=6.0, help="seconds an epoch")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two events")
    given = parser.parse_args()
    print(f"`{' '.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="turn-") as folder:
        figures, wrong = measure(given, Path(folder))
    for name, value in figures.items():
        print(f"{name:<44} {value}")
    print("\n".join(wrong) or "nothing lost, nothing changed, nothing done twice beyond that")
    return 1 if wrong else 0


def measure(given: argparse.Namespace, place: Path) -> tuple[dict[str, object], list[str]]:
    """Run it in a folder; give the figures, and what is wrong in words."""
    config = build_config(
        {
            "name": "turnover",
            "storage": str(place),
            "search": {"trials": given.trials, "asha": None},
            "training": {"epochs": given.epochs},
            "resources": {"max_concurrent": given.machines * given.slots, "max_failures": 20},
            "tracking": {"uri": f"sqlite:///{place / 'mlflow.db'}"},
        },
        "turnover",
    )
    notes = place / "notes"
    notes.mkdir()
    os.environ |= {NOTES: str(notes), SLEEP: str(given.sleep), "RAY_TMPDIR": str(place)}
    folder = StudyFolder(place / "turnover")
    folder.create(dump_config(config), {"git_commit": "unknown"})
    driver.ClipFitTrainable = Sleeping  # type: ignore[misc]
    study = Study(config, folder)
    data = Preparer(study, study.architecture().image_size).search()
    # Handlers of signals can be set in the main thread only, and machines come in another one.
    cluster = Cluster(shutdown_at_exit=False)
    try:
        cluster.add_node(num_cpus=0, include_dashboard=False)
        turnover = Turnover(cluster, given.machines, given.slots, given.every)
        ends, tracker = Ends(folder), MlflowTracker()
        os.environ["RAY_ADDRESS"] = cluster.address
        tracker.start(study)
        with driver.ray_session(config):
            turnover.start()
            began = time.perf_counter()
            stages.run_search(study, data, [ends, tracker])
            seconds = time.perf_counter() - began
            turnover.over.set()
            turnover.join()
            unsent = tracker.close(finished=True)
    finally:
        cluster.shutdown()
    return judged(given, study, ends.told, notes, turnover, seconds, len(unsent))


def judged(
    given: argparse.Namespace,
    study: Study,
    told: Mapping[str, tuple[bytes, bytes]],
    notes: Path,
    turnover: Turnover,
    seconds: float,
    unsent: int,
) -> tuple[dict[str, object], list[str]]:
    """Return what the study came to, beside what its workers noted, and what is wrong with it."""
    trials = {trial.trial_id: trial for trial in study.folder.trials()}
    changed = [name for name, was in told.items() if contents(study.folder.trial(name)) != was]
    parts, statuses = [], Counter[str]()
    search, planned, recorded = study.config.search, 0, 0
    for name, trial in trials.items():
        end, epochs = trial.read_end(), [report["epoch"] for report in trial.read_reports()]
        statuses[end.status if end else "without end"] += 1
        config = TrialConfig.model_validate(trial.read_config())
        planned += search.counts_trial(config.arm, config.label)
        recorded += len(epochs)
        if epochs != (list(range(1, config.epochs + 1)) or [0]):
            parts.append(name)
    noted = [
        json.loads(line) for path in sorted(notes.iterdir()) for line in path.open(encoding="utf-8")
    ]
    again = repeated([tuple(note) for note in noted])
    wrong = [f"{name} has changed since it ended" for name in changed]
    wrong += [f"{name} is in parts" for name in parts]
    wrong += [f"{count} {status}" for status, count in statuses.items() if status != "finished"]
    wrong += [f"{planned} trials of {search.trials}"] * (planned != search.trials)
    wrong += [f"{name} was thrown back {count} epochs" for name, count in again if count > 1]
    figures: dict[str, object] = {
        "machines lost, joined": f"{turnover.lost}, {turnover.joined}",
        "trials, by their ends": dict(statuses),
        "epochs recorded": recorded,
        "times that a trial went on elsewhere": len(again),
        "whole epochs that it did again there": dict(Counter(count for _, count in again)),
        "seconds": round(seconds),
        "of the time of all slots, in these epochs": round(
            recorded * given.sleep / (seconds * given.machines * given.slots), 3
        ),
        "MLflow unsent": unsent,
    }
    return figures, wrong


def repeated(notes: Sequence[tuple[str, float, int, int]]) -> list[tuple[str, int]]:
    """Return each time that a trial went on in another process: its id, and the epochs done again.

    Args:
        notes: of each epoch as it ended, before it was recorded: the trial's id, the time, the
            process and the epoch.
    """
    return [
        (trial, last - epoch + 1)
        for (trial, _, process, last), (its, _, other, epoch) in pairwise(sorted(notes))
        if trial == its and process != other
    ]


if __name__ == "__main__":
    sys.exit(main())
