"""What benchmarks share: the machine in words, and tables for a README."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

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
