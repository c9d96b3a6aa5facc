"""What bfloat16 saves a step: float32, autocast alone, and frozen matrices held in bfloat16.

    python tests/benchmarks/precision.py                     # ViT-B/16 shapes, batch 8 and 32
    python tests/benchmarks/precision.py --batch 8 --rounds 3
    python tests/benchmarks/precision.py --attention         # of one layer alone

Random weights in the shapes of ViT-B/16, 100 classes, one thread. Every round takes each way in
turn. The products a second are those of the operations that PyTorch counts in a step, beside what
the same core reaches with one product of the step's largest shape. Gradients are compared with
those of float32 after every tuned tensor has moved by normal noise of 0.01.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Sequence
from functools import partial

import torch
from paired import machine, medians, peak_memory, table
from step import MOVED, make_backbone, make_prompts
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from study.method.model import FewShotClassifier
from study.method.precision import hold
from study.method.recipe import Precision
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import make_optimizer, training_step

WAYS: dict[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "autocast": ("bfloat16", False),
    "held": ("bfloat16", True),
}
"""The precision that is computed in, and whether frozen matrices are held in it."""
CLASSES = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--attention", action="store_true", help="one layer's, there and back")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n")
    if options.attention:
        print(attention(options.rounds))
        return
    print(seconds(options.batch, options.rounds))
    print(memory(options.batch[0]))
    print(gradients(options.batch[0]))


def seconds(batches: Sequence[int], rounds: int, *, small: bool = False) -> str:
    """Measure steps; give the table."""
    rows = []
    for batch in batches:
        steps = {name: make_step(name, batch, small=small)[1] for name in WAYS}
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
    for name, (weights, peak) in found.items():
        shares = [weights / found["float32"][0]]
        if peak is not None and found["float32"][1] is not None:
            shares.append((weights + peak) / sum(found["float32"]))
        cells = [f"{weights:.3f}", "–" if peak is None else f"{weights + peak:.2f}"]
        cells += [f"{share:.2f}" for share in shares]
        rows.append([name, *cells, *["–"] * (2 - len(shares))])
    headings = ("", "weights, GiB", "peak with them, GiB", "of float32's weights", "of its peak")
    return table(f"Memory of a step, batch {batch}", headings, rows)


def gradients(batch: int, *, small: bool = False) -> str:
    """Compare the gradients of each way with those of float32; give the table."""
    found = {}
    for name in WAYS:
        classifier, step = make_step(name, batch, moved=MOVED, small=small)
        step()
        found[name] = [one.parameter.grad for one in classifier.tuned]
    rows = []
    for name in ("autocast", "held"):
        pairs = zip(found[name], found["float32"], strict=True)
        cosines = torch.stack([_cosine(*pair) for pair in pairs])
        rows.append([name, f"{cosines.median():.5f}", f"{cosines.min():.5f}"])
    title = f"Cosines of the gradients of {len(cosines)} tuned tensors with those of float32"
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
            F.scaled_dot_product_attention(*given).backward(gradient.to(given[0].dtype))

        def products(given: list[Tensor] = halves, gradient: Tensor = gradient) -> None:
            query, key, value = given
            scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
            (scores.softmax(dim=-1) @ value).backward(gradient.bfloat16())

        ways = {
            "float32": partial(pytorch, inputs),
            "bfloat16": partial(pytorch, halves),
            "products": products,
        }
        found = medians(ways, rounds)
        rows.append([f"{shape[0]} {what}", *(f"{1000 * found[name]:.1f}" for name in ways)])
    headings = ("", "PyTorch's in float32", "in bfloat16", "products of bfloat16")
    return table(f"Attention of a layer, CPU ms, medians of {rounds}", headings, rows)


def make_step(
    name: str, batch: int, *, moved: float = 0.0, small: bool = False
) -> tuple[FewShotClassifier, Callable[[], object]]:
    """Give a model, and what takes a step with it; what is computed once a trial is done."""
    precision, is_held = WAYS[name]
    backbone = make_backbone(small=small)
    if is_held:
        hold(backbone.clip, precision)
    generator = torch.Generator().manual_seed(0)
    ids = make_prompts(CLASSES, generator)
    pixels = torch.randn(batch, 3, backbone.image_size, backbone.image_size, generator=generator)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    classifier = FewShotClassifier(backbone, parse("clipfit"), precision=precision)
    for one in classifier.tuned:
        one.parameter.data.add_(moved * torch.randn(one.parameter.shape, generator=generator))
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.002, "ln": 0.002})
    staged = StagedClassifier(classifier)
    prompts, images = staged.begin_prompts(ids), staged.begin_images(pixels)
    with torch.no_grad():
        plain = FewShotClassifier(backbone, parse("none"), precision=precision)
        zero_shot = plain.encode_text(ids)

    def step() -> None:
        training_step(staged, optimizer, images, labels, prompts, zero_shot, 8.0)

    return classifier, step


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
    classifier, step = make_step(name, batch, small=small)
    weights = sum(parameter.nbytes for parameter in classifier.clip.parameters())
    return weights / 2**30, peak_memory(step)


def _cosine(one: Tensor | None, other: Tensor | None) -> Tensor:
    assert one is not None
    assert other is not None
    return F.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0)


if __name__ == "__main__":
    main()
