"""What a training step costs: the staged pass beside the reading version, the naive and the floor.

    python tests/benchmarks/run.py step

Random weights in the shapes of ViT-B/16, float32, prompts of 10 to 14 tokens that begin alike.
Every round takes each variant in turn; the table has medians of the process's CPU seconds and
their ratios.

naive   as the reference does: the tuned text encoder over 77 tokens twice, once for the logits and
        once for the distillation, both with gradient; its teacher's features are computed once
plain   `training_step` of the reading version: one text pass, tokens cut after the longest prompt
staged  `training_step` as trials take it; what is computed once a trial is not counted
floor   a bare forward and backward of the vision encoder and one cut text pass, nothing else
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from paired import medians, peak_memory, table
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, make_optimizer, training_step

CONTEXT = 77
START, END = 49406, 49407
SHARED = [320, 1125, 539, 320]
"""Where a prompt begins: "a photo of a"."""
MOVED = 0.01
"""Deviation of what tuned tensors are moved by, where gradients are compared."""
VARIANTS = ("naive", "plain", "staged", "floor")


@dataclass(frozen=True)
class Step:
    """A way to take a step, and the model that it changes."""

    classifier: FewShotClassifier
    take: Callable[[], object]

    def __call__(self) -> object:
        return self.take()


def seconds(
    classes: Sequence[int],
    batch: int,
    subsets: Sequence[str],
    rounds: int,
    *,
    small: bool = False,
) -> str:
    """Measure steps; give the table.

    Args:
        classes: how many, a row each.
        batch: images.
        subsets: what is tuned, rows each.
        rounds: that are counted.
        small: a model for seeing that this works, not for measuring.
    """
    backbone, rows = make_backbone(small=small), []
    for subset in subsets:
        for count in classes:
            found = medians(variants(backbone, subset, count, batch), rounds)
            rows.append([subset, str(count), *_cells(found)])
    ratios = ("naive / staged", "plain / staged", "staged / floor")
    title = f"CPU seconds a step, batch {batch}, medians of {rounds}"
    return table(title, ("subset", "classes", *VARIANTS, *ratios), rows)


def _cells(found: dict[str, float]) -> list[str]:
    pairs = (("naive", "staged"), ("plain", "staged"), ("staged", "floor"))
    ratios = [found[one] / found[other] for one, other in pairs]
    return [f"{found[name]:.2f}" for name in VARIANTS] + [f"{ratio:.2f}" for ratio in ratios]


def memory(classes: Sequence[int], batch: int, *, small: bool = False) -> str:
    """Measure each variant's peak in a process of its own; give the table."""
    rows = []
    for count in classes:
        peaks = []
        for name in VARIANTS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peak = pool.apply(peak_of, (name, count, batch, torch.get_num_threads(), small))
            peaks.append("–" if peak is None else f"{peak:.2f}")
        rows.append([str(count), *peaks])
    title = f"GiB above the weights at a step's peak, batch {batch}, CLIPFit"
    return table(title, ("classes", *VARIANTS), rows)


def exactness(
    classes: Sequence[int], batch: int, subsets: Sequence[str], *, small: bool = False
) -> str:
    """Compare the gradients of steps; give the table.

    What rounding alone does to the reading version stands beside it. At the very start the
    distillation's gradient is zero, and what is computed of it is rounding, times λ.
    """
    rows = []
    for subset, count, noise in itertools.product(subsets, classes, (0.0, MOVED)):
        plain, staged = gradients(subset, count, batch, torch.float32, noise, small=small)
        exact, ours = gradients(subset, count, batch, torch.float64, noise, small=small)
        pairs = ((staged, plain), (plain, exact), (staged, exact), (ours, exact))
        where = f"moved by {noise:g}" if noise else "at the start"
        rows.append([subset, str(count), where, *(f"{furthest(*pair):.1e}" for pair in pairs)])
    title = f"‖g − g′‖ / ‖g′‖, the largest of all tensors, batch {batch}"
    headings = ("staged, plain", "plain, plain in float64", "staged, plain in float64")
    return table(title, ("subset", "classes", "tuned tensors", *headings, "both in float64"), rows)


def gradients(
    subset: str, classes: int, batch: int, dtype: torch.dtype, noise: float, *, small: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """Give the gradients of a plain and of a staged step, tensor by tensor.

    Before it, every tuned tensor is moved by normal noise of this deviation.
    """
    backbone = make_backbone(small=small)
    backbone.clip.to(dtype)
    steps = variants(backbone, subset, classes, batch)
    found = []
    for step in (steps["plain"], steps["staged"]):
        generator = torch.Generator().manual_seed(1)
        for tuned in step.classifier.tuned:
            moves = torch.randn(tuned.parameter.shape, generator=generator)
            tuned.parameter.data.add_(noise * moves.to(dtype))
        step()
        found.append([cast(Tensor, tuned.parameter.grad) for tuned in step.classifier.tuned])
    return found[0], found[1]


def furthest(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Give the largest distance of two tensors, relative to the other's length."""
    return max(
        ((one - other).norm() / other.norm()).item()
        for one, other in zip(some, others, strict=True)
    )


def peak_of(name: str, classes: int, batch: int, threads: int, small: bool) -> float | None:
    """Measure one variant's first step in this process."""
    torch.set_num_threads(threads)
    return peak_memory(variants(make_backbone(small=small), "clipfit", classes, batch)[name])


def variants(backbone: Backbone, subset: str, classes: int, batch: int) -> dict[str, Step]:
    """Give a step of each kind, on models and batches of its own."""
    generator = torch.Generator().manual_seed(0)
    ids = make_prompts(classes, generator)
    size = backbone.image_size
    pixels = torch.randn(batch, 3, size, size, generator=generator).to(backbone.clip.dtype)
    labels = torch.randint(classes, (batch,), generator=generator)

    def fresh() -> tuple[FewShotClassifier, torch.optim.Optimizer]:
        classifier = FewShotClassifier(backbone, parse(subset))
        return classifier, make_optimizer(classifier.tuned, {"bias": 0.002, "ln": 0.002})

    with torch.no_grad():
        zero_shot_text = FewShotClassifier(backbone, parse("none")).encode_text(ids)
    whole = F.pad(ids, (0, CONTEXT - ids.shape[1]))
    naive, naive_optimizer = fresh()

    def naive_step() -> None:
        text, image = naive.encode_text(whole), naive.encode_image(pixels)
        logits = naive.logits(image, text)
        losses = Objective(whole, zero_shot_text, 8.0).losses(
            logits, labels, naive.encode_text(whole)
        )
        naive_optimizer.zero_grad()
        losses.loss.backward()
        naive_optimizer.step()

    plain, plain_optimizer = fresh()
    of_prompts = Objective(ids, zero_shot_text, 8.0)

    def plain_step() -> None:
        training_step(plain, plain_optimizer, pixels, labels, of_prompts)

    ours, optimizer = fresh()
    staged = StagedClassifier(ours)
    prompts, images = staged.begin_prompts(ids), staged.begin_images(pixels)
    of_prefixes = Objective(prompts, zero_shot_text, 8.0)

    def ours_step() -> None:
        training_step(staged, optimizer, images, labels, of_prefixes)

    bare, _ = fresh()

    def floor_step() -> None:
        features: list[Tensor] = [bare.encode_image(pixels), bare.encode_text(ids)]
        sum(feature.sum() for feature in features if feature.requires_grad).backward()  # type: ignore[union-attr]

    return {
        "naive": Step(naive, naive_step),
        "plain": Step(plain, plain_step),
        "staged": Step(ours, ours_step),
        "floor": Step(bare, floor_step),
    }


def make_prompts(classes: int, generator: torch.Generator) -> Tensor:
    """Make ids of prompts that begin alike and have 10 to 14 tokens, (classes, 14) int64."""
    rows = []
    for _ in range(classes):
        length = int(torch.randint(10, 15, (), generator=generator))
        name = torch.randint(1000, 40000, (length - 3 - len(SHARED),), generator=generator)
        row = [START, *SHARED, *name.tolist(), 269, END]
        rows.append(row + [0] * (14 - len(row)))
    return torch.tensor(rows)


def make_backbone(*, small: bool = False, patch: int = 16) -> Backbone:
    """Make a CLIP in the shapes of ViT-B/16, or of ViT-B/32 by its patch, with random weights."""
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2} if small else {}
    size = 32 if small else 224
    config = CLIPConfig(
        text_config={"bos_token_id": START, "eos_token_id": END, "pad_token_id": 0, **shape},
        vision_config={"patch_size": patch, "image_size": size, **shape, "num_attention_heads": 4}
        if small
        else {"patch_size": patch},
    )
    clip = CLIPModel(config).eval().requires_grad_(False)
    ones = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Backbone("random", clip, None, size, *ones, fingerprint="0" * 16)
