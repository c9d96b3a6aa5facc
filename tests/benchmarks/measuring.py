"""What benchmarks share: the machine in words, tables for a README, and seconds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

Task = Callable[[], object]
LIBRARIES = ("torch", "torchvision", "transformers", "ray", "optuna", "mlflow")


def machine() -> str:
    """Return the processor, cores, GPU, load and libraries of this machine in words."""
    processor = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    parts = [processor, f"{len(os.sched_getaffinity(0))} cores", gpu]
    parts.append(f"load {os.getloadavg()[0]:.1f} at the start")
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            parts.append(f"{name} {version(name)}")
    return ", ".join(parts)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"**{title}**", ""]
    for row in (header, ["---"] * len(header), *rows):
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, ""])


def median_seconds(tasks: Mapping[str, Task], rounds: int) -> dict[str, float]:
    """Return the median processor seconds of each task, after a first round that does not count.

    Tasks take turns, so that other work of the machine weighs on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            began = time.process_time()
            task()
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}
