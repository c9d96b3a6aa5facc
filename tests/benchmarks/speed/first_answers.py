"""When a study of photographs gives its first answers: zero-shot CLIP, a linear head, ProLIP.

    python tests/benchmarks/speed/first_answers.py --classes 10 --checkout . ../before

Each checkout runs the configuration `photos` with random weights of the shapes of ViT-B/32, one
trial at a time, until its first answers are there, or the time is over. Beside the seconds that
passed are those that its processes had of a core, which other work of the machine lengthens less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from study.storage.study_folder import StudyFolder
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.speed.photographs import write_checkpoint, write_photographs

ANSWERS = ("zero-shot", "linear", "projection")


def main() -> None:
    """Measure each checkout in turn, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--images", type=int, default=30, help="the images of each class")
    parser.add_argument("--checkout", type=Path, nargs="+", default=[Path()])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=15, help="when to give up")
    parser.add_argument("--inputs", type=Path, default=Path("runs/speed"))
    parser.add_argument("--set", nargs="*", default=[], help="further settings, as KEY=VALUE")
    options = parser.parse_args()
    print(machine(), end="\n\n", flush=True)
    inputs = options.inputs.resolve()
    inputs.mkdir(parents=True, exist_ok=True)
    checkpoint = write_checkpoint(inputs / "checkpoint")
    name = f"photographs-{options.classes}-{options.images}"
    photographs = write_photographs(inputs / name, options.classes, options.images)
    settings = [f"data.root={photographs}", f"backbone.name={checkpoint}", *options.set]
    rows = []
    for _ in range(options.rounds):
        for checkout in options.checkout:
            seconds = first_answers(checkout.resolve(), settings, 60 * options.minutes)
            rows.append([str(checkout), *[seconds.get(label, "–") for label in ANSWERS]])
    title = f"Seconds to the first answers, {options.classes} classes"
    print(table(title, ["checkout", *ANSWERS], rows))


def first_answers(checkout: Path, settings: list[str], limit: float) -> dict[str, str]:
    """Return the seconds, and those of a core, until the first end of each kind of trial."""
    seconds: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as storage:
        folder = Path(storage, "first")
        command = [sys.executable, "-m", "study", "run", "photos", "name=first", *settings]
        command += [f"storage={storage}", "tracking.trackers=[]", "resources.max_concurrent=1"]
        began = time.time()
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        with subprocess.Popen(command, cwd=checkout, env=environment) as study:
            driver = psutil.Process(study.pid)
            while len(seconds) < len(ANSWERS) and time.time() - began < limit:
                time.sleep(1)
                begun = (folder / "trials").exists()
                trials = StudyFolder(folder).trials_of("search") if begun else ()
                for trial, config in trials:
                    label = config["label"] if config["arm"] == "baseline" else config["arm"]
                    if label in ANSWERS and label not in seconds and trial.read_end():
                        passed = trial.read_reports()[-1]["ended_at"] - began
                        seconds[label] = f"{passed:.0f} ({cpu_seconds(driver):.0f})"
                if study.poll() is not None:
                    break
            study.terminate()
    return seconds


def cpu_seconds(driver: psutil.Process) -> float:
    """Return the seconds that a process and those that it has started had of a core."""
    return sum(sum(each.cpu_times()[:4]) for each in (driver, *driver.children(recursive=True)))


if __name__ == "__main__":
    main()
