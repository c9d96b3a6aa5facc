"""The CPU seconds of a training step, naive and staged.

    python tests/benchmarks/step/steps.py                # about an hour of a quiet machine
    python tests/benchmarks/step/steps.py --quick        # tiny: shows that it works

Every round takes each variant in turn; the table has medians.

naive   as the public trainer does: two text passes over 77 tokens, for logits and distillation
staged  as trials do it; what is computed once a trial is not counted
floor   both encoders there and back, nothing else
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from tests.benchmarks.measuring import machine, median_seconds, table
from tests.benchmarks.step.random_clip import TINY, Step, make_step

VARIANTS = {"naive": Step.take_naive, "staged": Step.take_staged, "floor": Step.take_floor}
ROWS = [(8, 100, "clipfit"), (8, 100, "text.mlp.fc2.bias"), (32, 100, "clipfit")]
"""The batch, the classes and the subset of each row."""


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny: measures nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n", flush=True)
    shape = TINY if options.quick else "ViT-B/16"
    print(variants_table(shape, options.rounds), flush=True)


def variants_table(shape: str, rounds: int) -> str:
    """Measure the variants, and return the table."""
    rows = []
    for batch, classes, subset in [(2, 3, "clipfit")] if shape == TINY else ROWS:
        tasks = {}
        for name, take in VARIANTS.items():
            step = make_step(batch, subset=subset, classes=classes, shape=shape)
            tasks[name] = partial(take, step)
        seconds = median_seconds(tasks, rounds)
        cells = [f"{seconds[name]:.2f}" for name in VARIANTS]
        cells.append(f"{seconds['naive'] / seconds['staged']:.1f}")
        cells.append(f"{seconds['staged'] / seconds['floor']:.2f}")
        rows.append([str(batch), str(classes), subset, *cells])
    header = ("batch", "classes", "tuned", *VARIANTS, "naive / staged", "staged / floor")
    return table(f"CPU seconds a step, medians of {rounds}", header, rows)


if __name__ == "__main__":
    main()
