"""What the driver costs a trial, and how that grows: no-op trials against the real driver.

    python tests/benchmarks/scale.py --trials 2000                    # TPE
    python tests/benchmarks/scale.py --trials 10000 --sampler random

Searcher, successive halving, ledger, observers and MLflow's mirror are those of a study, with a
SQLite store; only the training is left out: a trial's epochs write the reports of an epoch and give
scores that rise with noise. Everything of it lies in a temporary folder.

The driver's CPU seconds are what it would need of a core of its own. The wall seconds are an upper
bound, since here all slots share a few cores with it.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.result import DONE

LIMIT = 60.0 / 64 / 2
"""Driver seconds a trial: half of what 64 slots of 60 s trials can bear."""

WINDOW = 100
"""Trials that a figure is the mean of: those up to each of the marks."""
MARKS = (100, 200, 500, 1000, 1500, 2000, 5000, 7500, 10000)


class NoTraining(tune.Trainable):
    """A trial without a model: it imports no torch, so that many fit in memory."""

    def setup(self, config: dict[str, Any], *, worker: Any, **_: Any) -> None:
        """See `study.search.trainable.ClipFitTrainable`."""
        self._folder = worker.folder
        self.reset_config(config)
        self._all_started = False
        self._slots = worker.folder.with_name("slots")
        (self._slots / str(os.getpid())).touch()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial."""
        from study.storage.study_folder import StudyFolder

        self._given = new_config
        self._trial = StudyFolder(self._folder).trial(new_config["trial_id"])
        self._random = random.Random(new_config["number"])
        self._worth = self._random.random()
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """Report an epoch."""
        # Else the first processes take all trials while the others start, and Tune, which sees that
        # these are not needed, ends and starts them over and over.
        while not self._all_started:
            self._all_started = len(list(self._slots.iterdir())) >= int(os.environ["SCALE_SLOTS"])
            time.sleep(0.2)
        self._epoch += 1
        epochs = self._given["epochs"]
        score = self._worth * self._epoch / max(epochs, 1) * (1 + self._random.gauss(0, 0.02))
        metrics = {"train_loss": 1.0, "cross_entropy": 0.5, "distillation": 0.5, "bias_lr": 0.1}
        metrics |= {"ln_lr": 0.1, "images_per_second": 100.0, "seconds": 0.01}
        epoch = min(self._epoch, epochs)
        self._trial.append_report(
            {"epoch": epoch, **metrics, "val_score": score, "val_accuracy": score}
        )
        done = self._epoch >= epochs
        return {
            "epoch": epoch,
            "epochs": epochs,
            "score": score,
            "metrics": {"val_score": score},
            "failed": False,
            DONE: done,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save."""


class Clock:
    """Observes a study: when each trial ended, what the driver had used by then."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float, float]] = []
        """Wall seconds, CPU seconds, memory in MB."""

    def trial_started(self, config: Any) -> None:
        """See `study.search.ledger_callback.Observer`."""
        if not self.ends:
            self.ends.append((time.perf_counter(), time.process_time(), _memory()))

    def trial_reported(self, config: Any, epoch: int, metrics: Any) -> None:
        """See `study.search.ledger_callback.Observer`."""

    def trial_ended(self, config: Any, end: Any, score: float | None) -> None:
        """See `study.search.ledger_callback.Observer`."""
        self.ends.append((time.perf_counter(), time.process_time(), _memory()))
        if (count := len(self.ends) - 1) % WINDOW == 0:
            cpu = self.per_trial(count - WINDOW, count)[1]
            told = f"the last {WINDOW} of {cpu:.3f} CPU s, {self.ends[-1][2]:.0f} MB"
            print(f"{count} trials, {told}", file=sys.stderr)

    def per_trial(self, first: int, last: int) -> tuple[float, float]:
        """Wall and CPU seconds a trial between two trials."""
        (wall0, cpu0, _), (wall1, cpu1, _) = self.ends[first], self.ends[last]
        return (wall1 - wall0) / (last - first), (cpu1 - cpu0) / (last - first)


def main() -> None:
    """Run one study of no-op trials and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", choices=("tpe", "random"), default="tpe")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--slots", type=int, default=16)
    given = parser.parse_args()
    os.environ["SCALE_SLOTS"] = str(given.slots)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(given, Path(folder))
    for name, value in figures.items():
        print(f"{name:<32} {value}")


def measure(given: argparse.Namespace, storage: Path) -> dict[str, Any]:
    """Run it in a folder; give the figures."""
    import ray

    from study.config.loading import build_config, dump_config
    from study.search import driver, stages
    from study.storage.study_folder import StudyFolder
    from study.tracking.mlflow.mlflow_tracker import MlflowTracker
    from study.trial.prepare import Preparer
    from study.trial.study import Study

    config = build_config(
        {
            "name": "scale",
            "storage": str(storage),
            "search": {"trials": given.trials, "sampler": given.sampler},
            "training": {"epochs": given.epochs},
            "resources": {"max_concurrent": given.slots},
            "tracking": {"uri": f"sqlite:///{storage / 'mlflow.db'}"},
        },
        "scale",
    )
    (storage / "slots").mkdir()
    folder = StudyFolder(storage / "scale")
    folder.create(dump_config(config), {"git_commit": "unknown"})
    driver.ClipFitTrainable = NoTraining  # type: ignore[misc]
    os.environ.update(driver.TUNE_ENVIRONMENT)
    ray.init(
        address="local",
        num_cpus=given.slots,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    study = Study(config, folder)
    data = Preparer(study, study.architecture().image_size).search()
    clock, tracker = Clock(), MlflowTracker()
    tracker.start(study)
    before = time.perf_counter()
    stages.run_search(study, data, [clock, tracker])
    searched = time.perf_counter()
    unsent = len(tracker.close(finished=True))
    closed = time.perf_counter()
    ray.shutdown()
    return _figures(given, clock, folder, searched - before, closed - searched, unsent)


def _figures(
    given: argparse.Namespace,
    clock: Clock,
    folder: Any,
    searching: float,
    closing: float,
    unsent: int,
) -> dict[str, Any]:
    count = len(clock.ends) - 1
    reports = sum(len(trial.read_reports()) for trial in folder.trials())
    early = min(WINDOW // 2, count // 4, given.slots)  # those wait for all processes to start
    marks = [mark for mark in MARKS if early < mark < count] + [count]
    figures: dict[str, Any] = {
        "trials": count,
        "sampler": given.sampler,
        "slots": given.slots,
        "reports a trial": round(reports / count, 2),
        "whole search, s": round(searching, 1),
        "driver CPU s a trial": round(clock.per_trial(early, count)[1], 4),
        "wall s a trial": round(clock.per_trial(early, count)[0], 4),
    }
    costs = []
    for mark in marks:
        wall, cpu = clock.per_trial(max(early, mark - WINDOW), mark)
        costs.append(cpu)
        memory = round(clock.ends[mark][2])
        figures[f"  up to the {mark}th"] = f"{cpu:.4f} CPU s, {wall:.4f} s, {memory} MB"
    figures |= {
        "growth of CPU s": round(costs[-1] / costs[0], 2),
        "MLflow behind at the end, s": round(closing, 1),
        "MLflow unsent": unsent,
        "limit, driver s a trial": round(LIMIT, 2),
    }
    return figures


def _memory() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
