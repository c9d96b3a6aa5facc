"""What a GPU does: images per second, model FLOP utilisation, trials per hour by trials a GPU.

    python tests/benchmarks/gpu.py

Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

import torch
from paired import machine, table
from step import make_backbone, make_prompts
from torch.utils.flop_counter import FlopCounterMode

from study.data.images.table import to_device
from study.method.model import FewShotClassifier
from study.method.precision import hold
from study.method.recipe import Precision
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import make_optimizer, training_step

PEAKS = {
    # Dense TFLOP/s of bfloat16 and of float32 without TF32, by what the driver calls the card.
    "H100": (989, 67),
    "H200": (989, 67),
    "A100": (312, 19.5),
    "A10G": (70, 35),
    "L4": (121, 30),
    "T4": (65, 8.1),
}
CLASSES, BATCH = 100, 32
STEPS_A_TRIAL = 50 * 50
"""Of 50 epochs over 16 shots of 100 classes."""


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print(machine(), end="\n\n")
    print(figures())


def figures() -> str:
    """Measure the GPU; give the tables, or that there is none."""
    if not torch.cuda.is_available():
        return "GPU: no GPU: unmeasured\n"
    return speed("cuda", steps=50) + "\n" + trials_per_hour("cuda", (1, 2, 4, 8), seconds=30.0)


def speed(device: str, *, steps: int, small: bool = False) -> str:
    """Measure one trial's steps alone on a device; give the table."""
    rows = []
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        step = make_step(device, precision, small=small)
        with FlopCounterMode(display=False) as counter:
            step()
        seconds = _timed(step, device, steps)
        reached = counter.get_total_flops() / seconds / 1e12
        peak = _peak(precision) if device == "cuda" else None
        used = "–" if peak is None else f"{reached / peak:.0%}"
        rows.append([precision, f"{BATCH / seconds:.0f}", f"{reached:.2f}", used])
    headings = ("precision", "images/s", "TFLOP/s", "of the card's peak")
    return table(f"Training steps, batch {BATCH}, {CLASSES} classes, CLIPFit", headings, rows)


def trials_per_hour(
    device: str, at_once: tuple[int, ...], *, seconds: float, small: bool = False
) -> str:
    """Measure processes that share a device, bfloat16; give the table."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for count in at_once:
        manager = context.Manager()
        together = manager.Barrier(count)
        with context.Pool(count) as pool:
            given = [(device, seconds, together, small)] * count
            steps = sum(pool.starmap(_steps_a_second, given, chunksize=1))
        manager.shutdown()
        rows.append([str(count), f"{steps:.1f}", f"{steps * 3600 / STEPS_A_TRIAL:.0f}"])
    headings = ("trials a GPU", "steps/s", f"trials of {STEPS_A_TRIAL:,} steps an hour")
    return table("Trials that share a GPU, bfloat16, no evaluation", headings, rows)


def make_step(device: str, precision: Precision, *, small: bool = False) -> Callable[[], object]:
    """Give what takes one step on a device; images travel to it in every step."""
    backbone = make_backbone(small=small)
    hold(backbone.clip, precision)
    backbone.clip.to(device)
    generator = torch.Generator().manual_seed(0)
    ids = make_prompts(CLASSES, generator).to(device)
    pixels = torch.randn(BATCH, 3, backbone.image_size, backbone.image_size, generator=generator)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator).to(device)
    classifier = FewShotClassifier(backbone, parse("clipfit"), precision=precision)
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.002, "ln": 0.002})
    staged = StagedClassifier(classifier)
    prompts = staged.begin_prompts(ids)
    with torch.no_grad():
        zero_shot_text = staged.encode_text(prompts)

    def step() -> None:
        images = staged.begin_images(to_device(pixels, torch.device(device)))
        training_step(staged, optimizer, images, labels, prompts, zero_shot_text, 8.0)

    return step


def _steps_a_second(device: str, seconds: float, together: Barrier, small: bool) -> float:
    torch.set_num_threads(1)
    step = make_step(device, "bfloat16", small=small)
    step()
    together.wait()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()  # it waits for the device, since it looks whether the loss is finite
        steps += 1
    return steps / (time.perf_counter() - began)


def _timed(step: Callable[[], object], device: str, steps: int) -> float:
    """Seconds a step."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def _peak(precision: Precision) -> float | None:
    """TFLOP/s, where the card is known."""
    name = torch.cuda.get_device_name()
    for card, (half, single) in PEAKS.items():
        if card in name.replace("-", " ").split():
            return half if precision == "bfloat16" else single
    return None


if __name__ == "__main__":
    main()
