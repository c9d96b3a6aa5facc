"""Training steps in each precision, and the gradients of a plain and of a staged one.

Precisions are float32, autocast to bfloat16, and frozen matrices held in bfloat16.
"""

from __future__ import annotations

import time

from torch import Tensor

from tests.benchmarks.measuring import median_seconds, table
from tests.benchmarks.step.random_clip import (
    CLASSES,
    MOVED,
    PRECISIONS,
    Step,
    cosines,
    make_step,
)


def gradients(
    batch: int, *, subset: str, classes: int = CLASSES, precision: str, small: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of a plain and of a staged step from the same tensors."""
    pair = []
    for take in (Step.take_plain, Step.take_augmented):
        step = make_step(
            batch, subset=subset, classes=classes, precision=precision, moved=MOVED, small=small
        )
        take(step)
        pair.append(step.gradients())
    return pair[0], pair[1]


def precisions_table(batch: int, rounds: int, *, device: str = "cpu", small: bool = False) -> str:
    """Measure a step in each precision, compare gradients, and return the table.

    In float32 PyTorch lets convolutions on a GPU use TF32, unless it is told otherwise.
    """
    steps, tuned = {}, {}
    for name in PRECISIONS:
        steps[name] = make_step(batch, precision=name, device=device, moved=MOVED, small=small)
        steps[name].take_augmented()
        tuned[name] = steps[name].gradients()
    # A step waits for its device to see whether the loss is finite.
    clock = time.process_time if device == "cpu" else time.perf_counter
    tasks = {name: step.take_augmented for name, step in steps.items()}
    seconds = median_seconds(tasks, rounds, clock)
    rows = []
    for name in PRECISIONS:
        alike = cosines(tuned[name], tuned["float32"])
        faster = seconds["float32"] / seconds[name]
        cells = [f"{1000 * seconds[name]:.1f}", f"{faster:.2f}", f"{alike.median():.5f}"]
        rows.append([name, *cells, f"{alike.min():.5f}"])
    title = f"A step of CLIPFit on {device}, batch {batch}, {CLASSES} classes, medians of {rounds}"
    header = ("", "ms", "times as fast", "median cosine of gradients with float32", "least")
    return table(title, header, rows)
