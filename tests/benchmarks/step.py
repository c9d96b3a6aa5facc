"""What a training step costs: the packed pass beside the reading version, the naive and the floor.

    python tests/benchmarks/step.py                                  # ViT-B/16 shapes, batch 8
    python tests/benchmarks/step.py --batch 32 --classes 100
    python tests/benchmarks/step.py --extrapolate 500                # naive from 50, 100 and 200

Random weights in the shapes of ViT-B/16, float32, prompts of 10 to 14 tokens that begin alike.
Every round takes each variant in turn; the table has medians of the process's CPU seconds and
their ratios.

naive   every prompt through the text encoder twice (teacher and student) over 77 tokens
plain   `training_step`, the reading version: one text pass, tokens cut at the longest prompt's end
packed  `packed_step`, what trials take; what it computes once a trial is not counted
floor   a bare forward and backward of the vision encoder and one cut text pass, nothing else
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from study.method.model import Backbone, FewShotClassifier
from study.method.packed import PackedClassifiers
from study.method.packed_training import packed_step
from study.method.subsets import parse
from study.method.training import make_optimizer, objective, training_step

CONTEXT = 77
START, END = 49406, 49407
SHARED = [320, 1125, 539, 320]
"""Where a prompt begins: "a photo of a"."""
Step = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--subset", nargs="+", default=["clipfit"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--extrapolate", type=int, help="classes too many for naive")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone = make_backbone()
    table = Table(title=f"CPU seconds a step, batch {options.batch}, {options.threads} threads")
    for heading in ("subset", "classes", "naive", "plain", "packed", "floor"):
        table.add_column(heading, justify="right")
    for heading in ("naive / packed", "plain / packed", "packed / floor"):
        table.add_column(heading, justify="right")
    for subset in options.subset:
        naive: dict[int, float] = {}
        classes = [*options.classes, *([50, 100, 200] if options.extrapolate else [])]
        for count in dict.fromkeys(classes):
            steps = variants(backbone, subset, count, options.batch)
            seconds = measure(steps, options.rounds)
            naive[count] = seconds["naive"]
            row(table, subset, str(count), seconds)
        if options.extrapolate:
            count = options.extrapolate
            steps = variants(backbone, subset, count, options.batch)
            seconds = measure({k: v for k, v in steps.items() if k != "naive"}, options.rounds)
            slope, start = np.polyfit([50, 100, 200], [naive[n] for n in (50, 100, 200)], 1)
            seconds["naive"] = float(start + slope * count)
            row(table, subset, f"{count} (naive extrapolated)", seconds)
    Console(width=120).print(table)


def row(table: Table, subset: str, classes: str, seconds: dict[str, float]) -> None:
    """Add a row: seconds, then ratios."""
    ratios = [
        seconds[one] / seconds[other]
        for one, other in (("naive", "packed"), ("plain", "packed"), ("packed", "floor"))
    ]
    times = [f"{seconds[name]:.2f}" for name in ("naive", "plain", "packed", "floor")]
    table.add_row(subset, classes, *times, *(f"{ratio:.2f}" for ratio in ratios))


def measure(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Take the variants in turn, a first round uncounted; give medians of CPU seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            if number:
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def variants(backbone: Backbone, subset: str, classes: int, batch: int) -> dict[str, Step]:
    """Give a step of each kind, on models and batches of its own."""
    generator = torch.Generator().manual_seed(0)
    ids = make_prompts(classes, generator)
    pixels = torch.randn(batch, 3, 224, 224, generator=generator)
    labels = torch.randint(classes, (batch,), generator=generator)

    def fresh() -> tuple[FewShotClassifier, torch.optim.Optimizer]:
        classifier = FewShotClassifier(backbone, parse(subset))
        return classifier, make_optimizer(classifier.tuned, bias_lr=0.002, ln_lr=0.002)

    teacher = FewShotClassifier(backbone, parse("none"))
    whole = torch.nn.functional.pad(ids, (0, CONTEXT - ids.shape[1]))
    naive, naive_optimizer = fresh()

    def naive_step() -> None:
        with torch.no_grad():
            zero_shot = teacher.encode_text(whole)
        text, image = naive.encode_text(whole), naive.encode_image(pixels)
        losses = objective(naive.logits(image, text), labels, text, zero_shot, 8.0)
        naive_optimizer.zero_grad()
        losses.loss.backward()
        naive_optimizer.step()

    with torch.no_grad():
        zero_shot_text = teacher.encode_text(ids)
    plain, plain_optimizer = fresh()

    def plain_step() -> None:
        training_step(plain, plain_optimizer, pixels, labels, ids, zero_shot_text, 8.0)

    ours, optimizer = fresh()
    packed = PackedClassifiers([ours])
    prompts, images = packed.begin_prompts([ids]), packed.begin_images(pixels)

    def ours_step() -> None:
        packed_step(packed, [optimizer], ([images], [labels]), prompts, [zero_shot_text], 8.0)

    bare, _ = fresh()

    def floor_step() -> None:
        features: list[Tensor] = [bare.encode_image(pixels), bare.encode_text(ids)]
        sum(feature.sum() for feature in features if feature.requires_grad).backward()  # type: ignore[union-attr]

    return {"naive": naive_step, "plain": plain_step, "packed": ours_step, "floor": floor_step}


def make_prompts(classes: int, generator: torch.Generator) -> Tensor:
    """Make ids of prompts that begin alike and have 10 to 14 tokens, (classes, 14) int64."""
    rows = []
    for _ in range(classes):
        length = int(torch.randint(10, 15, (), generator=generator))
        name = torch.randint(1000, 40000, (length - 3 - len(SHARED),), generator=generator)
        row = [START, *SHARED, *name.tolist(), 269, END]
        rows.append(row + [0] * (14 - len(row)))
    return torch.tensor(rows)


def make_backbone() -> Backbone:
    """Make a CLIP in the shapes of ViT-B/16 with random weights."""
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={"bos_token_id": START, "eos_token_id": END, "pad_token_id": 0},
        vision_config={"patch_size": 16},
    )
    clip = CLIPModel(config).eval().requires_grad_(False)
    ones = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Backbone("random", clip, None, 224, *ones, fingerprint="0" * 16)


if __name__ == "__main__":
    main()
