"""What a training step does on a GPU: speed, processes that share it, and exact gradients."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
from gpu_sections import Numbers
from step import MOVED
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from ways import EXACT, WAYS, cosines, make_ready

PEAKS = {
    # Dense TFLOP/s of bfloat16 and of float32 without TF32, by what the driver calls the card.
    "H100": (989, 67),
    "H200": (989, 67),
    "A100": (312, 19.5),
    "A10G": (70, 35),
    "L4": (121, 30),
    "T4": (65, 8.1),
}
BATCH = 32
BATCHES = (8, 32, 128)
STEPS = [f"{way}, batch {batch}" for batch in BATCHES for way in WAYS]
"""The rows of `speed`."""
STEPS_A_TRIAL = 50 * 50
"""Of 50 epochs over 16 shots of 100 classes."""
SECONDS = 3.0
"""How long one step is repeated."""
SHARED_SECONDS = 12.0
"""How long processes that share a GPU are counted."""


def speed(row: str, device: str, small: bool) -> Numbers:
    """Measure the steps of one way and batch, alone on a device."""
    way, _, size = row.partition(", batch ")
    batch = int(size)
    ready = make_ready(way, batch, device=device, small=small)
    with FlopCounterMode(display=False) as counter:
        ready.step()
    seconds = _seconds(ready.step, device, 0.0 if small else SECONDS)
    reached = counter.get_total_flops() / seconds / 1e12
    peak = _peak(way) if device == "cuda" else None
    return {
        "step_ms": 1000 * seconds,
        "images_per_second": batch / seconds,
        "tflops": reached,
        "of_peak": None if peak is None else reached / peak,
    }


def speed_cells(numbers: Numbers) -> list[str]:
    """Write a row of `speed`."""
    share = numbers["of_peak"]
    return [
        *(f"{numbers['step_ms']:.1f}", f"{numbers['images_per_second']:.0f}"),
        *(f"{numbers['tflops']:.2f}", "–" if share is None else f"{share:.0%}"),
    ]


def shared(row: str, device: str, small: bool) -> Numbers:
    """Measure the steps of processes that share a device, bfloat16 held."""
    count, context = int(row), multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(count) as pool:
        given = [(device, manager.Barrier(count), small)] * count
        steps = sum(pool.starmap(_steps_a_second, given, chunksize=1))
    return {"steps_per_second": steps, "trials_per_hour": steps * 3600 / STEPS_A_TRIAL}


def shared_cells(numbers: Numbers) -> list[str]:
    """Write a row of `shared`."""
    return [f"{numbers['steps_per_second']:.1f}", f"{numbers['trials_per_hour']:.0f}"]


def gradients(row: str, device: str, small: bool) -> Numbers:
    """Compare the gradients of one way with those of float64, on the same device."""
    found = cosines(_gradients(row, device, small), _exact(device, small))
    return {"median": found.median().item(), "least": found.min().item(), "tensors": len(found)}


def gradients_cells(numbers: Numbers) -> list[str]:
    """Write a row of `gradients`."""
    return [f"{numbers['median']:.7f}", f"{numbers['least']:.7f}", str(numbers["tensors"])]


@cache
def _exact(device: str, small: bool) -> list[Tensor]:
    return _gradients(EXACT, device, small)


def _gradients(way: str, device: str, small: bool) -> list[Tensor]:
    ready = make_ready(way, BATCH, device=device, moved=MOVED, small=small)
    ready.step()
    return ready.gradients()


def _steps_a_second(device: str, together: Barrier, small: bool) -> float:
    torch.set_num_threads(1)
    ready = make_ready("held", BATCH, device=device, small=small)
    ready.step()
    together.wait()
    seconds = 0.2 if small else SHARED_SECONDS
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        ready.step()  # it waits for the device, since it looks whether the loss is finite
        steps += 1
    return steps / (time.perf_counter() - began)


def _seconds(step: Callable[[], Any], device: str, least: float) -> float:
    """Return the seconds of a step, repeated for some time, after one that is not counted."""
    step()
    synchronize(device)
    began, steps = time.perf_counter(), 0
    while not steps or time.perf_counter() - began < least:
        step()
        steps += 1
    synchronize(device)
    return (time.perf_counter() - began) / steps


def synchronize(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def _peak(way: str) -> float | None:
    """Return the TFLOP/s of the card, where it is known."""
    names = torch.cuda.get_device_name().replace("-", " ").split()
    peaks = next((peaks for card, peaks in PEAKS.items() if card in names), None)
    if peaks is None:
        return None
    half, single = peaks
    return single if WAYS[way][0] == "float32" else half
