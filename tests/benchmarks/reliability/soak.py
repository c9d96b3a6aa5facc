"""Five hundred short trials of the real thing: does the driver grow, does anything stay behind?

    python tests/benchmarks/reliability/soak.py      # exit code 1 if a bound is broken

A study as a user starts it, on the embedded checkpoint and digits, with MLflow on a server that
this starts and ends, all in a temporary folder. The driver is watched from outside.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from study import run
from study.storage.study_folder import StudyFolder
from study.tracking.mlflow.server import open_client
from tests.benchmarks.measuring import machine, table
from tests.tracking_server import TrackingServer

GROWTH = 1.10
"""Most memory of the driver at the last mark, over that at the first."""
MORE_FILES = 8
"""Most open files at the last mark, beyond those at the first."""
MARKS = 5
LOOK_EVERY = 0.5
"""Seconds."""
ENDS_WITHIN = 30.0
"""Seconds in which the processes of a study are gone after its driver."""
MARK = "SOAK_STUDY"
"""A variable of the environment that all processes of the study inherit."""
HEADER = ("trials", "after, s", "memory, MB", "open files")
SMALL = (
    *("data.shots=1", "search.selection=holdout", "training.epochs=4"),
    *("test.seeds=[1,2]", "test.runners_up=0"),
)


class Sample(NamedTuple):
    """The driver when so many trials had ended."""

    trials: int
    seconds: float
    memory: float
    """Resident, MB."""
    files: int


def main() -> int:
    """Run it, print what was seen, and tell whether it is within the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    trials = parser.parse_args().trials
    print(machine(), end="\n\n", flush=True)
    os.environ[MARK] = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as scratch:
        faults = soak(trials, Path(scratch))
    for fault in faults:
        print(f"broken: {fault}", file=sys.stderr)
    return 1 if faults else 0


def soak(trials: int, place: Path) -> list[str]:
    """Run the study in a folder, print the table, and return the bounds that are broken."""
    server = TrackingServer(place / "mlflow")
    server.start()
    began = time.monotonic()
    try:
        command = [sys.executable, str(run.__file__), "quickstart", "name=soak", *SMALL]
        command += [f"search.trials={trials}", f"tracking.uri={server.address}"]
        with (place / "output").open("wb") as output:
            driver = subprocess.Popen(command, cwd=place, stdout=output, stderr=subprocess.STDOUT)
            folder = StudyFolder(place / "runs" / "soak")
            samples = list(watch(driver, folder, trials))
            code = driver.wait()
        took = time.monotonic() - began
        states = runs_in_mlflow(server.address)
    finally:
        server.stop()
    rows = [[f"{value:.0f}" for value in sample] for sample in samples]
    print(table("The driver", HEADER, rows))
    print(f"the whole study took {took:.0f} s; MLflow has {dict(states)}")
    faults = broken_bounds(samples, states, count_ended(folder))
    faults += [f"left behind: {process}" for process in left_behind()]
    if code:
        faults.append(f"the study ended with code {code}:\n{(place / 'output').read_text()}")
    return faults


def watch(driver: subprocess.Popen[bytes], folder: StudyFolder, trials: int) -> Iterator[Sample]:
    """Look at a driver until it ends; yield a sample at each mark."""
    began = time.monotonic()
    process = psutil.Process(driver.pid)
    marks = [trials * mark // MARKS for mark in range(1, MARKS + 1)]
    while driver.poll() is None:
        if marks and count_ended(folder) >= marks[0]:
            memory = process.memory_info().rss / 2**20
            seconds = time.monotonic() - began
            yield Sample(marks.pop(0), seconds, memory, process.num_fds())
        time.sleep(LOOK_EVERY)


def count_ended(folder: StudyFolder) -> int:
    """Return how many trials of the search have ended, those beyond its budget among them."""
    return len(list(folder.path.glob("trials/search-*/end.json")))


def left_behind() -> list[str]:
    """Return the processes of the study that there are still, after a while."""
    deadline = time.monotonic() + ENDS_WITHIN
    left = marked_processes()
    while left and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
        left = marked_processes()
    return left


def marked_processes() -> list[str]:
    """Return the ids and commands of the processes of the study."""
    commands = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or is another user's
            if process.environ().get(MARK) == os.environ[MARK]:
                commands.append(f"{process.pid}: {' '.join(process.cmdline())[:100]}")
    return commands


def runs_in_mlflow(address: str) -> Counter[str]:
    """Count the search's runs by their states."""
    client = open_client(address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.stage = 'search'", max_results=10_000)
    return Counter(run.info.status for run in runs)


def broken_bounds(samples: list[Sample], states: Counter[str], ended: int) -> list[str]:
    """Return in words what is out of bounds."""
    faults = []
    if len(samples) < MARKS:
        faults.append(f"the study ended before all marks: {samples}")
    else:
        first, last = samples[0], samples[-1]
        if last.memory > GROWTH * first.memory:
            faults.append(f"memory grew {last.memory / first.memory - 1:.1%}")
        if last.files > first.files + MORE_FILES:
            faults.append(f"{last.files - first.files} more open files")
    if states.total() != ended or states["RUNNING"]:
        faults.append(f"MLflow has {states.total()} runs of {ended} trials: {dict(states)}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
