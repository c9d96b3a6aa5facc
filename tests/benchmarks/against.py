"""This checkout beside a former one: a step, a later trial's start, and the driver's cost a trial.

    git worktree add ../former COMMIT
    python tests/benchmarks/against.py ../former --rounds 10

Each round runs both checkouts in turn, in processes of their own, the first one alternating. Both
use this environment's libraries. The table has the ratio of this checkout to the former one: the
geometric mean over rounds with its 95 % t interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("former", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=MEASURES, help="one of the measures")
    options = parser.parse_args()
    print(machine(), end="\n\n")
    rows = []
    for name in [options.only] if options.only else MEASURES:
        pairs = [
            _pair(MEASURES[name], options.former.resolve(), number)
            for number in range(options.rounds)
        ]
        rows.append([name, *_cells(pairs)])
    headings = ("", "former, median", "this, median", "this / former", "95 % interval")
    print(table(f"This checkout beside a former one, {options.rounds} rounds", headings, rows))


def _pair(measure: Callable[[Path], float], former: Path, number: int) -> tuple[float, float]:
    """Return the seconds of the former checkout and of this one; they take turns to be first."""
    if number % 2:
        this = measure(HERE)
        return measure(former), this
    before = measure(former)
    return before, measure(HERE)


def _cells(pairs: list[tuple[float, float]]) -> list[str]:
    former, this = (np.array(side) for side in zip(*pairs, strict=True))
    logs = np.log(this / former)
    mean, reach = logs.mean(), 0.0
    if len(logs) > 1:
        reach = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    low, high = math.exp(mean - reach), math.exp(mean + reach)
    medians = [f"{np.median(side):.4g}" for side in (former, this)]
    return [*medians, f"{math.exp(mean):.3f}", f"{low:.3f} to {high:.3f}"]


def _print_of(code: str) -> Callable[[Path], float]:
    def measure(checkout: Path) -> float:
        return float(_run(checkout, ["-c", code]).split()[-1])

    return measure


def _driver(checkout: Path) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "figures.json"
        _run(checkout, ["scale.py", *DRIVER, "--json", str(file)])
        return float(json.loads(file.read_text())["driver CPU s a trial"])


def _run(checkout: Path, arguments: list[str]) -> str:
    """Run Python among a checkout's benchmarks; return what it printed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout / "tests" / "benchmarks",
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout


MEASURES: dict[str, Callable[[Path], float]] = {
    "a step, ViT-B/16 shapes, batch 8, 10 classes, CPU s": _print_of(STEP.format(classes=10)),
    "a later trial's start, embedded, s": _print_of(START),
    "the driver's cost a trial, CPU s": _driver,
}

if __name__ == "__main__":
    main()
