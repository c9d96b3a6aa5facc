"""What the driver costs a trial, and how that grows: no-op trials against the real driver.

    python tests/benchmarks/scale/scale.py --trials 2000                    # TPE
    python tests/benchmarks/scale/scale.py --trials 10000 --sampler random --epochs 4

Searcher, successive halving, files, observers and MLflow's sync are those of a study, with a
SQLite store; only the training is left out: a trial's epochs write the reports of an epoch and give
scores that rise with noise. All of it lies in a temporary folder.

The driver's CPU seconds are what it would need of a core of its own.
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

import psutil
from ray import tune
from ray.tune.result import DONE

from tests.benchmarks.measuring import machine

SLOTS_VARIABLE = "SCALE_SLOTS"
WINDOW = 100
"""How many trials a figure is the mean of."""
MARKS = (100, 500, 1000, 2000, 5000, 10000)


class NoTraining(tune.Trainable):
    """A trial without a model: it imports no torch, so that many fit in memory."""

    def setup(self, config: dict[str, Any], *, folder: Path, **_: Any) -> None:
        """See `study.search.trainable.ClipFitTrainable`."""
        self._folder = folder
        self.reset_config(config)
        self._all_started = False
        self._slots = folder.with_name("slots")
        (self._slots / str(os.getpid())).touch()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial."""
        from study.storage.study_folder import StudyFolder

        self._trial_config = new_config
        self._trial = StudyFolder(self._folder).trial(new_config["trial_id"])
        self._random = random.Random(new_config["number"])
        self._worth = self._random.random()
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """Report an epoch."""
        # Else the first processes would take all trials while the others start.
        while not self._all_started:
            started = len(list(self._slots.iterdir()))
            self._all_started = started >= int(os.environ[SLOTS_VARIABLE])
            time.sleep(0.2)
        epochs = self._trial_config["epochs"]
        self._epoch = min(self._epoch + 1, epochs)
        done = self._epoch >= epochs
        score = self._worth * self._epoch / max(epochs, 1) * (1 + self._random.gauss(0, 0.02))
        metrics = {
            **{"train_loss": 1.0, "cross_entropy": 0.5, "distillation": 0.5},
            **{"bias_lr": 0.1, "ln_lr": 0.1, "images_per_second": 100.0, "seconds": 0.01},
            **{"val_score": score, "val_accuracy": score},
        }
        self._trial.append_reports({"epoch": self._epoch, **metrics})
        result = {"epoch": self._epoch, "epochs": epochs, "score": score, "failed": False}
        return {**result, "metrics": {"val_score": score}, DONE: done}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""


class Clock:
    """Observes a study: what the driver had used when each trial ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []
        """CPU seconds, and memory in MB; first of the start of the first trial."""

    def _note(self) -> None:
        memory = psutil.Process().memory_info().rss / 2**20
        self.ends.append((time.process_time(), memory))

    def trial_started(self, config: Any) -> None:
        """See `study.search.observers.Observer`."""
        if not self.ends:
            self._note()

    def trial_reported(self, config: Any, epoch: int, metrics: Any) -> None:
        """See `study.search.observers.Observer`."""

    def trial_ended(self, config: Any, end: Any, score: float | None) -> None:
        """See `study.search.observers.Observer`."""
        self._note()
        trials = len(self.ends) - 1
        if trials in MARKS:
            print(self.line(trials), flush=True)

    def line(self, trial: int) -> str:
        """Return what a trial took in the mean of the window that ends with one."""
        first = max(0, trial - WINDOW)
        (before, _), (cpu, memory) = self.ends[first], self.ends[trial]
        return f"trial {trial}: {(cpu - before) / (trial - first):.4f} CPU s, {memory:.0f} MB"


def main() -> None:
    """Run one study of no-op trials and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", choices=("tpe", "random"), default="tpe")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--slots", type=int, default=16)
    options = parser.parse_args()
    os.environ[SLOTS_VARIABLE] = str(options.slots)
    # Of results that Tune does not find, since the folder has them.
    logging.disable(logging.WARNING)
    print(f"{' '.join(sys.argv)}, {machine()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, storage: Path) -> None:
    """Run the study in a folder, and print what it took."""
    import ray

    from study.config.loading import build_config, dump_config
    from study.search import driver, steps
    from study.storage.study_folder import StudyFolder
    from study.tracking.mlflow.mlflow_tracker import MlflowTracker
    from study.tracking.tracker import TrackerObserver
    from study.trial.prepare import Preparer
    from study.trial.study import Study

    values = {
        "name": "scale",
        "storage": str(storage),
        "search": {"trials": options.trials, "sampler": options.sampler},
        "training": {"epochs": options.epochs},
        "resources": {"max_concurrent": options.slots},
        "tracking": {"uri": f"sqlite:///{storage / 'mlflow.db'}"},
    }
    config = build_config(values, "scale")
    (storage / "slots").mkdir()
    folder = StudyFolder(storage / "scale")
    folder.create(dump_config(config), {})
    driver.ClipFitTrainable = NoTraining  # type: ignore[misc]
    os.environ.update(driver.TUNE_ENVIRONMENT)
    ray.init(address="local", num_cpus=options.slots, include_dashboard=False, log_to_driver=False)
    study = Study(config, folder)
    data = Preparer(study, study.architecture.image_size).search()
    clock, tracker = Clock(), MlflowTracker()
    tracker.start(study)
    began = time.perf_counter()
    driver.run_trials(study, steps.run_search(study, data, [clock, TrackerObserver(tracker)]))
    searched = time.perf_counter()
    missing = tracker.close(finished=True).missing
    closed = time.perf_counter()
    ray.shutdown()
    print(clock.line(len(clock.ends) - 1))
    print(f"the search took {searched - began:.1f} s")
    print(f"MLflow was {closed - searched:.1f} s behind at the end, and lacks {missing or None}")


if __name__ == "__main__":
    main()
