"""The first ten minutes with a GPU: what a training step takes, and what else could limit a study.

    PYTHONPATH=. python tests/benchmarks/gpu.py
    PYTHONPATH=. python tests/benchmarks/gpu.py --quick    # tiny, on the CPU: it works

It needs torch, transformers and the libraries that read images, but no Ray, Optuna or MLflow, and
no installation of this project. It prints one table, row by row, and chooses nothing.

A step is that of a trial with augmentation: CLIP with random weights, CLIPFit's parameters, images
that travel to the device. Its share of the peak is the floating-point operations of its matrix
products and convolutions, each second, over those of a large matrix product in the same precision,
which is measured first. All but the plain step do not look at their loss. In a CUDA graph the whole
step is captured once and replayed.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from study.data.images.decode import preprocess
from study.data.images.sources import read_image
from study.data.images.table import random_resized_crop_flip
from study.method.training import Objective
from study.method.training_options import Precision
from tests.benchmarks.measuring import machine
from tests.benchmarks.random_clip import DISTILL_WEIGHT, SHAPES, TINY, Step, make_step

PRECISIONS: dict[str, Precision] = {
    "float32": "float32",
    "TF32": "float32",
    "bfloat16": "bfloat16",
}
"""The precisions of steps, and what a trial calls them."""
PROCESSES = (1, 2, 4, 8)
BATCH = 32
STEPS_A_TRIAL = 50 * 50
"""Of 50 epochs over 16 shots of 100 classes."""
SECONDS = 12.0
"""How long trials at once are counted, and images."""
PHOTOGRAPH = (500, 375)


def main() -> None:
    """Measure, and print a row after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes on the CPU")
    quick = parser.parse_args().quick
    if not quick and not torch.cuda.is_available():
        print("no GPU: unmeasured")
        return
    print(machine(), end="\n\n", flush=True)
    if quick:
        print("Tiny shapes on the CPU, to see that it works: nothing here is a measurement.\n")
    print("| what | precision | how | result |\n| --- | --- | --- | --- |", flush=True)
    for row in measure("cpu" if quick else "cuda", quick=quick):
        print(f"| {' | '.join(row)} |", flush=True)


def measure(device: str, *, quick: bool) -> Iterator[Sequence[str]]:
    """Yield the rows of the table."""
    shapes = [TINY] if quick else [name for name in SHAPES if name != TINY]
    peaks = {}
    for precision in PRECISIONS:
        with tf32(precision == "TF32"):
            peaks[precision] = peak(precision, device, 64 if quick else 8192)
        yield "matrix product", precision, "the peak", f"{peaks[precision] / 1e12:.1f} TFLOP/s"
    for shape in shapes:
        for precision in PRECISIONS:
            for way in WAYS:
                with tf32(precision == "TF32"):
                    result = step_cell(shape, precision, way, peaks[precision], device)
                yield f"a step of {shape}, batch {BATCH}", precision, way, result
    for count in PROCESSES[: 2 if quick else None]:
        steps = steps_of_trials_at_once(count, device, shapes[0], 0.2 if quick else SECONDS)
        trials = f"{steps:.1f} steps/s, {3600 * steps / STEPS_A_TRIAL:.0f} trials an hour"
        yield f"{count} trials at once, {shapes[0]}", "bfloat16", "plain", trials
    for what, images in images_a_second(0.2 if quick else SECONDS).items():
        yield what, "", "one core", f"{images:.0f} images/s"


@contextmanager
def tf32(is_allowed: bool) -> Iterator[None]:
    """Let float32 products and convolutions on a GPU use TF32 in the block, or not."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = is_allowed
    try:
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def seconds_of(task: Callable[[], object], device: str, rounds: int = 20) -> float:
    """Return the median seconds of a task, after three times that do not count."""
    synchronize = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    seconds = []
    for _ in range(3 + rounds):
        synchronize()
        began = time.perf_counter()
        task()
        synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[3:])


def peak(precision: str, device: str, size: int) -> float:
    """Return the floating-point operations per second of a large square matrix product."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / seconds_of(lambda: matrix @ matrix, device)


def step_cell(shape: str, precision: str, way: str, most: float, device: str) -> str:
    """Return the time of a step and its share of the peak in words, or why it cannot be run."""
    step = make_step(BATCH, shape=shape, precision=PRECISIONS[precision], device=device)
    try:
        with FlopCounterMode(display=False) as counter:
            step.take_augmented()
        seconds = seconds_of(WAYS[way](step), device)
    except Exception as error:  # such as no compiler, or too little memory: a result as well
        return f"fails: {' '.join(str(error).split())[:80] or type(error).__name__}"
    share = counter.get_total_flops() / seconds / most
    return f"{1000 * seconds:.2f} ms, {100 * share:.0f} % of the peak"


def unchecked(
    step: Step, wrap: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] = lambda one: one
) -> Callable[[], None]:
    """Return a step without a look at its loss, which would wait for the device.

    Args:
        step: the step.
        wrap: is applied to each function that passes an encoder, such as `torch.compile`.
    """
    staged, prompts = step.staged, step.prompts
    begin, encode_image = wrap(staged.begin_images), wrap(staged.encode_image)
    encode_text = wrap(staged.encode_text)
    objective = Objective(prompts, step.zero_shot_text, DISTILL_WEIGHT)

    def take() -> None:
        images = encode_image(begin(step.pixels.to(step.classifier.device, non_blocking=True)))
        text = encode_text(prompts)
        losses = objective.losses(
            staged.logits(images, text), step.labels, text, step.classifier.tuned
        )
        losses.loss.backward()
        step.optimizer.step()
        step.optimizer.zero_grad(set_to_none=False)

    return take


def captured(step: Step) -> Callable[[], None]:
    """Return the replay of a step in a CUDA graph, with images that are on the device."""
    step = replace(step, pixels=step.pixels.to(step.classifier.device))
    take = unchecked(step)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # as PyTorch's documentation asks for before a capture
        for _ in range(3):
            take()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        take()
    return graph.replay


def compiled(step: Step, *, mode: str = "default") -> Callable[[], None]:
    """Return a step whose passes through the encoders are compiled."""
    if step.classifier.device.type == "cuda":
        return unchecked(step, partial(torch.compile, mode=mode))
    return unchecked(step, partial(torch.compile, backend="aot_eager"))  # needs no compiler


WAYS: dict[str, Callable[[Step], Callable[[], None]]] = {
    "plain": lambda step: step.take_augmented,
    "CUDA graph": captured,
    "torch.compile": compiled,
    "torch.compile with CUDA graphs": partial(compiled, mode="reduce-overhead"),
}
"""How a step is run."""


def steps_of_trials_at_once(count: int, device: str, shape: str, seconds: float) -> float:
    """Return the steps per second of processes that share a device, all together."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(count) as pool:
        arguments = [(device, shape, manager.Barrier(count), seconds)] * count
        return sum(pool.starmap(steps_a_second, arguments, chunksize=1))


def steps_a_second(device: str, shape: str, together: Barrier, seconds: float) -> float:
    """Repeat a step beside other processes; it waits for its device to see the loss."""
    torch.set_num_threads(1)
    step = make_step(BATCH, shape=shape, precision="bfloat16", device=device)
    step.take_augmented()
    together.wait()
    return rate(step.take_augmented, seconds)


def rate(task: Callable[[], object], seconds: float) -> float:
    """Return how often a task is done each second."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        task()
        done += 1
    return done / (time.perf_counter() - began)


def images_a_second(seconds: float) -> dict[str, float]:
    """Return how many photographs a core decodes each second, and how many it augments."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize(PHOTOGRAPH, Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)

    def decode() -> np.ndarray:
        image = read_image(io.BytesIO(file.getvalue()), path="photograph")
        return preprocess(image, size=224, keep_aspect=True)

    images = [torch.tensor(decode()).permute(2, 0, 1)] * BATCH
    augment = partial(random_resized_crop_flip, images, 224, torch.Generator().manual_seed(0))
    width, height = PHOTOGRAPH
    return {
        f"JPEGs of {width} × {height} decoded": rate(decode, seconds),
        "augmented to 224 × 224": BATCH * rate(augment, seconds),
    }


if __name__ == "__main__":
    main()
