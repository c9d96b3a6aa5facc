"""This checkout beside a former one: a step, a later trial's start, and the driver's cost a trial.

    python tests/benchmarks/against.py COMMIT --rounds 10    # with the libraries that it gets today
    python tests/benchmarks/run.py --against COMMIT          # the same, by the common command
    python tests/benchmarks/against.py ../former             # a checkout, with the libraries here

A commit is checked out into a temporary folder with an environment of its own, which takes minutes.
Each round runs both checkouts in turn, in processes of their own, the first one alternating. The
table has the ratio of this checkout to the former one: the geometric mean over rounds with its
95 % t interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paired import machine, table
from scipy import stats

HERE = Path(__file__).parents[2]
STEP = """
import time, torch, step
torch.set_num_threads(1)
steps = step.variants(step.make_backbone(), "clipfit", {classes}, 8)
take = steps.get("staged") or steps["packed"]  # the name that it had before
take()
began = time.process_time()
take()
print(time.process_time() - began)
"""
START = """
import statistics, tempfile, pathlib, torch, trials
torch.set_num_threads(1)
backbone = trials.load_backbone(trials.backbone_path("embedded"))
with tempfile.TemporaryDirectory() as folder:
    data = trials.digits(pathlib.Path(folder), backbone.image_size)
    times = [trials._time_to_first_step("clipfit", data, backbone) for _ in range(22)]
print(statistics.median(times[2:]))
"""
DRIVER = ("--trials", "120", "--slots", "1", "--epochs", "3", "--no-asha")


@dataclass(frozen=True)
class Side:
    """A checkout, and the Python of the environment that runs it."""

    checkout: Path
    python: Path

    def versions(self) -> dict[str, str]:
        """Return the version of each library."""
        listed = _said([str(self.python), "-m", "pip", "list", "--format=json"])
        return {one["name"].lower(): one["version"] for one in json.loads(listed)}


THIS = Side(HERE, Path(sys.executable))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("former", help="a commit, or the folder of another checkout")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=MEASURES, help="one of the measures")
    options = parser.parse_args()
    print(machine(), end="\n\n")
    for text in compare(
        options.former, options.rounds, [options.only] if options.only else MEASURES
    ):
        print(text)


def compare(former: str, rounds: int, measures: Collection[str]) -> Iterator[str]:
    """Yield which libraries differ, and the table.

    Args:
        former: a commit, or the folder of another checkout.
        rounds: how often each side is measured.
        measures: the names of the measures.
    """
    with side_of(former) as other:
        yield differences(other.versions(), THIS.versions())
        rows = []
        for name in measures:
            pairs = [_pair(MEASURES[name], other, number) for number in range(rounds)]
            rows.append([name, *_cells(pairs)])
    headings = ("", "former, median", "this, median", "this / former", "95 % interval")
    yield table(f"This checkout beside {former}, {rounds} rounds", headings, rows)


@contextmanager
def side_of(former: str) -> Iterator[Side]:
    """Yield a former state; what is made for a commit is gone afterwards."""
    if Path(former).is_dir():
        yield Side(Path(former).resolve(), THIS.python)
        return
    with tempfile.TemporaryDirectory() as scratch:
        checkout, environment = Path(scratch) / "former", Path(scratch) / "environment"
        git = ["git", "-C", str(HERE), "worktree"]
        _said([*git, "add", "--detach", str(checkout), former])
        try:
            _said([sys.executable, "-m", "venv", str(environment)])
            python = environment / "bin" / "python"
            _said([str(python), "-m", "pip", "install", "--quiet", "-e", str(checkout)])
            yield Side(checkout, python)
        finally:
            _said([*git, "remove", "--force", str(checkout)])


def differences(former: dict[str, str], this: dict[str, str]) -> str:
    """Return which libraries have other versions, in a line."""
    found = [
        f"{name} {former[name]} → {this[name]}"
        for name in sorted(former.keys() & this.keys())
        if former[name] != this[name]
    ]
    return f"Libraries that differ: {', '.join(found) or 'none'}.\n"


def _pair(measure: Callable[[Side], float], former: Side, number: int) -> tuple[float, float]:
    """Return the seconds of the former checkout and of this one; they take turns to be first."""
    if number % 2:
        this = measure(THIS)
        return measure(former), this
    before = measure(former)
    return before, measure(THIS)


def _cells(pairs: list[tuple[float, float]]) -> list[str]:
    former, this = (np.array(side) for side in zip(*pairs, strict=True))
    logs = np.log(this / former)
    mean, reach = logs.mean(), 0.0
    if len(logs) > 1:
        reach = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    low, high = math.exp(mean - reach), math.exp(mean + reach)
    medians = [f"{np.median(side):.4g}" for side in (former, this)]
    return [*medians, f"{math.exp(mean):.3f}", f"{low:.3f} to {high:.3f}"]


def _print_of(code: str) -> Callable[[Side], float]:
    def measure(side: Side) -> float:
        return float(_run(side, ["-c", code]).split()[-1])

    return measure


def _driver(side: Side) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "figures.json"
        _run(side, ["scale.py", *DRIVER, "--json", str(file)])
        return float(json.loads(file.read_text())["driver CPU s a trial"])


def _run(side: Side, arguments: list[str]) -> str:
    """Run Python among a checkout's benchmarks; return what it printed."""
    return subprocess.run(
        [str(side.python), *arguments],
        cwd=side.checkout / "tests" / "benchmarks",
        env={**os.environ, "PYTHONPATH": str(side.checkout)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout


def _said(command: list[str]) -> str:
    """Run a command; return what it printed, or end with what went wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr.strip()}")
    return done.stdout


START_ONLY = "a later trial's start, embedded, s"
MEASURES: dict[str, Callable[[Side], float]] = {
    "a step, ViT-B/16 shapes, batch 8, 10 classes, CPU s": _print_of(STEP.format(classes=10)),
    START_ONLY: _print_of(START),
    "the driver's cost a trial, CPU s": _driver,
}

if __name__ == "__main__":
    main()
