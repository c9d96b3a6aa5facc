"""What the benchmarks share: variants taken in turn, the machine's name, tables for a README."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

Variant = Callable[[], object]
Rows = Sequence[Sequence[str]]
LIBRARIES = ("torch", "torchvision", "transformers", "ray", "optuna", "mlflow")


def medians(
    variants: Mapping[str, Variant],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Take the variants in turn, a first round uncounted; give the median seconds of each.

    What else the machine does then weighs on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            began = clock()
            variant()
            if number:
                seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine() -> str:
    """Name what was measured on: processor, cores, threads, load, versions."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{names[0] if names else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory:.0f} GiB, {gpu}; {torch.get_num_threads()} threads of PyTorch; "
        f"load {os.getloadavg()[0]:.1f} at the start; " + ", ".join(_versions())
    )


def _versions() -> Iterator[str]:
    """Yield the libraries that are installed, with their versions."""
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def table(title: str, headings: Sequence[str], rows: Rows) -> str:
    """Give a Markdown table."""
    lines = [f"**{title}**", "", *(f"| {' | '.join(cells)} |" for cells in (headings, *rows)), ""]
    lines.insert(3, "|" + "---|" * len(headings))
    return "\n".join(lines)


def peak_memory(task: Variant) -> float | None:
    """Run something; give the most memory it held beyond what was held before, in GiB.

    None where the system does not tell. What the process once held and gave back does not count,
    and what it holds for reuse does: measure in a process of its own.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    except OSError:
        return None
    before = _status("VmRSS")
    task()
    return (_status("VmHWM") - before) / 2**20


def _status(field: str) -> int:
    """KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
