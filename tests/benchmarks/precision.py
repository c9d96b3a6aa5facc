"""What bfloat16 saves a step: float32, autocast alone, and frozen matrices held in bfloat16.

    python tests/benchmarks/run.py precision

Random weights in the shapes of ViT-B/16, 100 classes, one thread. Every round takes each way in
turn. The products a second are those of the operations that PyTorch counts in a step, beside what
the same core reaches with one product of the step's largest shape. Gradients are compared with
those of float32 after every tuned tensor has moved by normal noise of 0.01.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from functools import partial

import torch
from paired import Variant, medians, peak_memory, table
from step import MOVED
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from ways import CLASSES, WAYS, cosines, make_ready

from study.method.recipe import Precision


def seconds(batches: Sequence[int], rounds: int, *, small: bool = False) -> str:
    """Measure steps; give the table."""
    rows = []
    for batch in batches:
        readies = {name: make_ready(name, batch, small=small) for name in WAYS}
        steps = {name: partial(one.step, one.begin_images()) for name, one in readies.items()}
        with FlopCounterMode(display=False) as counter:
            steps["float32"]()
        operations = counter.get_total_flops()
        found = medians(steps, rounds)
        for name, (precision, _) in WAYS.items():
            reached, bound = operations / found[name] / 1e9, _product(precision, batch, small)
            rows.append(
                [
                    *(str(batch), name, f"{found[name]:.2f}"),
                    f"{found['float32'] / found[name]:.2f}",
                    f"{reached:.0f} of {bound:.0f} ({reached / bound:.0%})",
                ]
            )
    headings = ("batch", "", "CPU s a step", "times as fast", "GFLOP/s of those of a product")
    title = f"Steps of CLIPFit, {CLASSES} classes, medians of {rounds}"
    return table(title, headings, rows)


def memory(batch: int, *, small: bool = False) -> str:
    """Measure weights, and each way's peak in a process of its own; give the table."""
    rows, found = [], {}
    for name in WAYS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(_bytes_of, (name, batch, small))
    whole, whole_peak = found["float32"]
    for name, (weights, peak) in found.items():
        shares = [weights / whole]
        if peak is not None and whole_peak is not None:
            shares.append((weights + peak) / (whole + whole_peak))
        cells = [f"{weights:.3f}", "–" if peak is None else f"{weights + peak:.2f}"]
        cells += [f"{share:.2f}" for share in shares]
        rows.append([name, *cells, *["–"] * (2 - len(shares))])
    headings = ("", "weights, GiB", "peak with them, GiB", "of float32's weights", "of its peak")
    return table(f"Memory of a step, batch {batch}", headings, rows)


def gradients(batch: int, *, small: bool = False) -> str:
    """Compare the gradients of each way with those of float32; give the table."""
    found = {}
    for name in WAYS:
        ready = make_ready(name, batch, moved=MOVED, small=small)
        ready.step()
        found[name] = ready.gradients()
    rows = []
    for name in ("autocast", "held"):
        alike = cosines(found[name], found["float32"])
        rows.append([name, f"{alike.median():.5f}", f"{alike.min():.5f}"])
    title = f"Cosines of the gradients of {len(alike)} tuned tensors with those of float32"
    return table(title, ("", "median", "least"), rows)


def attention(rounds: int, *, small: bool = False) -> str:
    """Measure the attention of one layer, there and back, in three ways; give the table."""
    rows = []
    images, prompts = (
        ((2, 2, 5, 16), (2, 2, 4, 16)) if small else ((8, 12, 197, 64), (100, 8, 14, 64))
    )
    for what, shape in (("images", images), ("prompts", prompts)):
        inputs = [torch.randn(shape).requires_grad_() for _ in range(3)]
        halves = [one.detach().bfloat16().requires_grad_() for one in inputs]
        gradient = torch.randn(shape)

        def pytorch(given: list[Tensor], gradient: Tensor = gradient) -> None:
            query, key, value = given
            attended = F.scaled_dot_product_attention(query, key, value)
            attended.backward(gradient.to(query.dtype))

        def products(given: list[Tensor] = halves, gradient: Tensor = gradient) -> None:
            query, key, value = given
            scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
            (scores.softmax(dim=-1) @ value).backward(gradient.bfloat16())

        ways: dict[str, Variant] = {
            "float32": partial(pytorch, inputs),
            "bfloat16": partial(pytorch, halves),
            "products": products,
        }
        found = medians(ways, rounds)
        rows.append([f"{shape[0]} {what}", *(f"{1000 * found[name]:.1f}" for name in ways)])
    headings = ("", "PyTorch's in float32", "in bfloat16", "products of bfloat16")
    return table(f"Attention of a layer, CPU ms, medians of {rounds}", headings, rows)


def _product(precision: Precision, batch: int, small: bool) -> float:
    """Return the GFLOP/s of one product of the step's largest shape."""
    width, tokens = (64, 5) if small else (768, 197)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    hidden, weight = torch.ones(batch * tokens, width, dtype=dtype), torch.ones(4 * width, width)
    weight = weight.to(dtype)
    best = min(medians({"": lambda: F.linear(hidden, weight)}, 10).values())
    return 2 * batch * tokens * 4 * width * width / best / 1e9


def _bytes_of(name: str, batch: int, small: bool) -> tuple[float, float | None]:
    """Return the GiB of the weights, and of the peak of a step above what was held before it."""
    torch.set_num_threads(1)
    ready = make_ready(name, batch, small=small)
    images = ready.begin_images()
    return ready.weights / 2**30, peak_memory(lambda: ready.step(images))
