"""Five hundred short trials of the real thing: does the driver grow, does anything stay behind?

    python tests/benchmarks/soak.py                 # exit code 1 where a bound is broken

A study as a user starts it, on the embedded checkpoint and digits, with MLflow on a server that
this starts and ends, all in a temporary folder. The driver is watched from outside, by /proc.
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
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # what tests share
from study import run
from study.storage.study_folder import StudyFolder
from tests.tracking_server import TrackingServer

GROWTH = 1.10
"""Most memory of the driver at the last mark, over that at the first."""
MORE_FILES = 8
"""Most open files at the last mark, beyond those at the first."""
MARKS = 5
LOOK_EVERY = 0.5
"""Seconds."""
WAITED_WITHIN = 5.0
"""Seconds in which a parent waits for a child that has ended."""
ENDS_WITHIN = 30.0
"""Seconds in which the processes of a study are gone after its driver."""
MARK = "SOAK_STUDY"
"""A variable of the environment that all processes of the study inherit."""
SMALL = (
    *("data.shots=1", "search.selection=holdout", "training.epochs=4"),
    *("confirm.seeds=[1,2]", "confirm.runners_up=0"),
)


@dataclass(frozen=True)
class Sample:
    """The driver when so many trials had ended."""

    trials: int
    seconds: float
    memory: float
    """Resident, MB."""
    files: int
    threads: int
    zombies: int
    """Among all processes of the study."""


def main() -> int:
    """Run it, print what was seen, and tell whether it is within the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    given = parser.parse_args()
    os.environ[MARK] = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as scratch:
        faults = soak(given.trials, Path(scratch))
    for fault in faults:
        print(f"broken: {fault}", file=sys.stderr)
    return 1 if faults else 0


def soak(trials: int, place: Path) -> list[str]:
    """Run the study in a folder, print the table, give the bounds that are broken."""
    server = TrackingServer(place / "mlflow")
    server.start()
    processes = Processes()
    try:
        command = [sys.executable, str(run.__file__), "quickstart", "name=soak", *SMALL]
        with (place / "output").open("wb") as output:
            driver = subprocess.Popen(
                [*command, f"search.trials={trials}", f"tracking.uri={server.address}"],
                cwd=place,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            began = time.monotonic()
            folder = StudyFolder(place / "runs" / "soak")
            samples = list(watch(driver, folder, trials, processes))
            code = driver.wait()
        took = time.monotonic() - began
        states = _in_mlflow(server.address)
    finally:
        server.stop()
    left = processes.left()
    _print(samples, took, states)
    faults = _broken(samples, states, trials)
    if code:
        faults.append(f"the study ended with code {code}:\n{(place / 'output').read_text()}")
    return faults + [f"left behind: {process}" for process in left]


def watch(
    driver: subprocess.Popen[bytes], folder: StudyFolder, trials: int, processes: Processes
) -> Iterator[Sample]:
    """Look at a driver until it ends; give a sample at each mark."""
    began = time.monotonic()
    marks = [trials * mark // MARKS for mark in range(1, MARKS + 1)]
    while driver.poll() is None:
        ended = len(list(folder.path.glob("trials/search-*/end.json")))
        processes.look()
        if marks and ended >= marks[0]:
            seconds = time.monotonic() - began
            memory = _status(driver.pid, "VmRSS") / 1024
            threads = _status(driver.pid, "Threads")
            files = len(list(Path(f"/proc/{driver.pid}/fd").iterdir()))
            yield Sample(marks.pop(0), seconds, memory, files, threads, len(processes.zombies()))
        time.sleep(LOOK_EVERY)


class Processes:
    """Those of a study, told by their environment while they live."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], str] = {}
        """Their commands, by id and the time of their start."""
        self._ended: dict[tuple[int, str], float] = {}
        """When those were first seen that have ended and whose parent, also of the study, has not
        waited for them."""

    def look(self) -> None:
        """Note who there is now."""
        wanted = f"{MARK}={os.environ[MARK]}".encode()
        for process in _processes():
            place = Path(f"/proc/{process.pid}")
            if process.key in self._seen:
                continue
            try:
                if wanted in (place / "environ").read_bytes().split(b"\0"):
                    command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    self._seen[process.key] = command[:100]
            except OSError:  # it has ended, or is another user's
                continue
        own, now = {pid for pid, _ in self._seen}, time.monotonic()
        ended = [p.key for p in _processes() if p.state == "Z" and p.parent in own]
        self._ended = {key: self._ended.get(key, now) for key in ended}

    def zombies(self) -> list[str]:
        """Give those that ended a while ago, and nobody waits for."""
        before = time.monotonic() - WAITED_WITHIN
        return [f"zombie {pid}" for (pid, _), seen in self._ended.items() if seen < before]

    def left(self) -> list[str]:
        """Give those that there are still, after a while."""
        deadline = time.monotonic() + ENDS_WITHIN
        while (self._alive() or self._ended) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            self.look()
        return [*self._alive(), *self.zombies()]

    def _alive(self) -> list[str]:
        there = (p for p in _processes() if p.state != "Z" and p.key in self._seen)
        return [f"process {p.pid}: {self._seen[p.key]}" for p in there]


class Process(NamedTuple):
    """One line of /proc."""

    pid: int
    state: str
    parent: int
    started: str

    @property
    def key(self) -> tuple[int, str]:
        """What no other process has, since ids are used again."""
        return self.pid, self.started


def _processes() -> Iterator[Process]:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield Process(int(place.name), fields[0], int(fields[1]), fields[19])


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _in_mlflow(address: str) -> Counter[str]:
    """Count the search's runs by their states."""
    from study.tracking.mlflow.server import open_client

    client = open_client(address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.stage = 'search'", max_results=10_000)
    return Counter(run.info.status for run in runs)


def _broken(samples: list[Sample], states: Counter[str], trials: int) -> list[str]:
    faults = []
    if len(samples) < MARKS:
        faults.append(f"the study ended before {trials} trials had")
    else:
        first, last = samples[0], samples[-1]
        if last.memory > GROWTH * first.memory:
            faults.append(f"memory grew {last.memory / first.memory - 1:.1%}")
        if last.files > first.files + MORE_FILES:
            faults.append(f"{last.files - first.files} more open files")
    faults += [f"{s.zombies} zombies at trial {s.trials}" for s in samples if s.zombies]
    if states.total() != trials or states["RUNNING"]:
        faults.append(f"MLflow has {states.total()} runs of {trials} trials: {dict(states)}")
    return faults


def _print(samples: list[Sample], took: float, states: Counter[str]) -> None:
    table = Table("trials", "after, s", "memory, MB", "growth", "open files", "threads", "zombies")
    for sample in samples:
        growth = f"{sample.memory / samples[0].memory - 1:+.1%}"
        table.add_row(
            *(str(sample.trials), f"{sample.seconds:.0f}", f"{sample.memory:.0f}", growth),
            *(str(sample.files), str(sample.threads), str(sample.zombies)),
        )
    console = Console(width=100)
    console.print(table)
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    console.print(f"the whole study took {took:.0f} s; MLflow has {told}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
