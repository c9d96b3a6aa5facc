"""Where the wall time of a study goes: a time line of its steps, and what trains meanwhile.

    python tests/benchmarks/timeline.py quickstart
    python tests/benchmarks/timeline.py base_to_new search.trials=20

It runs a new study from its command to its end, in a temporary folder, and prints a table of the
time line, one of processor seconds by kind of process, and the share of cores × wall time that is
spent inside trials. Times are of this process's clock; other work of the machine counts as idle.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from study.storage.study_folder import StudyFolder
from tests.benchmarks.measuring import machine, table

SAMPLED_EVERY = 0.25
"""Seconds between two looks at the processes; what one uses after the last look is not counted."""


@dataclass(frozen=True)
class Span:
    """The trials of one stage; times are in seconds after the command."""

    stage: str
    began: float
    """When the first was handed to a worker."""
    first: float
    """When the first report of one was on disk."""
    ended: float
    """When the last one had ended."""
    trained: float
    """The seconds that its trials spent in training and scoring, in all."""
    trials: int


def main() -> None:
    """Run the study of the command line, and print where its time went."""
    print(f"`{' '.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "study.run", "run", *sys.argv[1:], "name=mine"]
        command += ["storage=runs"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        began = time.time()
        with subprocess.Popen(command, cwd=place, env=environment, stdout=sys.stderr) as process:
            seconds = sample_processes(psutil.Process(process.pid))
        ended = time.time() - began
        if process.returncode:
            sys.exit(process.returncode)
        spans = read_spans(StudyFolder(Path(place) / "runs" / "mine"), began)
    rows = [["start, until a trial is handed to a worker", "0.0", f"{spans[0].began:.1f}", "", ""]]
    for span in spans:
        row = [f"{span.stage}: {span.trials} trials, first report after {span.first:.1f}"]
        row += [f"{span.began:.1f}", f"{span.ended:.1f}", f"{span.trained:.1f}"]
        busy = span.trained / (cores * (span.ended - span.began))
        rows.append([*row, f"{100 * busy:.0f} %"])
    last = max(span.ended for span in spans)
    rows.append(["end: workers, MLflow, tables, report", f"{last:.1f}", f"{ended:.1f}", "", ""])
    trained = sum(span.trained for span in spans)
    share = f"{100 * trained / (cores * ended):.0f} %"
    rows.append(["whole study", "0.0", f"{ended:.1f}", f"{trained:.1f}", share])
    header = ["", "from, s", "to, s", "inside trials, s", f"of {cores} cores"]
    print(table("Time line", header, rows))
    kinds = [[kind, f"{spent:.1f}"] for kind, spent in seconds.items()]
    print(table("Processor seconds", ["processes", "s"], kinds))


def sample_processes(driver: psutil.Process) -> dict[str, float]:
    """Return the processor seconds by kind of process, once the driver has ended."""
    used: dict[int, tuple[str, float]] = {}
    ended = threading.Event()
    while not ended.wait(SAMPLED_EVERY):
        with suppress(psutil.Error):  # one may end while it is looked at
            if driver.status() == psutil.STATUS_ZOMBIE:
                ended.set()
            for process in [driver, *driver.children(recursive=True)]:
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    # One that is ending has no command line any more.
                    kind = used[process.pid][0] if process.pid in used else kind_of(process, driver)
                    used[process.pid] = kind, times.user + times.system
        if not driver.is_running():
            break
    seconds: defaultdict[str, float] = defaultdict(float)
    for kind, spent in used.values():
        seconds[kind] += spent
    return dict(sorted(seconds.items(), key=lambda pair: -pair[1]))


def kind_of(process: psutil.Process, driver: psutil.Process) -> str:
    """Return what a process is for: the driver, a worker of trials, or Ray itself."""
    if process == driver:
        return "driver"
    title = " ".join(process.cmdline())
    # A worker begins as this script, and has a title of Ray's once it has imported Ray.
    is_worker = "default_worker.py" in title or (title.startswith("ray::") and "Agent" not in title)
    return "workers of trials" if is_worker else "Ray's own"


def read_spans(folder: StudyFolder, began: float) -> list[Span]:
    """Return the spans of a study's stages, in the order of their beginnings."""
    trials = [trial for trial in folder.trials() if trial.read_reports() and trial.read_end()]
    spans = []
    for stage in dict.fromkeys(str(trial.read_config()["stage"]) for trial in trials):
        of_stage = [trial for trial in trials if trial.read_config()["stage"] == stage]
        reports = [trial.read_reports() for trial in of_stage]
        span = Span(
            stage,
            began=min((trial.path / "config.json").stat().st_mtime for trial in of_stage) - began,
            first=min(lines[0]["ended_at"] for lines in reports) - began,
            ended=max(lines[-1]["ended_at"] for lines in reports) - began,
            trained=sum(end.seconds for trial in of_stage if (end := trial.read_end())),
            trials=len(of_stage),
        )
        spans.append(span)
    return sorted(spans, key=lambda span: span.began)


if __name__ == "__main__":
    main()
