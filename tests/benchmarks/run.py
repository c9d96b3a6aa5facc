"""What the product's speed comes to, by one command; tables in Markdown.

    python tests/benchmarks/run.py                    # more than an hour of a quiet machine
    python tests/benchmarks/run.py step laptop        # some sections
    python tests/benchmarks/run.py gpu                # all of a GPU, within nine minutes
    python tests/benchmarks/run.py --quick            # tiny: shows that it works, measures nothing

Variants are taken in turn. A section is imported when it is run: `gpu` needs torch, transformers,
numpy, pyarrow, pydantic, safetensors and scikit-learn alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from paired import machine

sys.path.append(str(Path(__file__).parents[2]))  # where this project is not installed

Section = Callable[[int, bool], Iterator[str]]
"""Yields tables; is called with the rounds, and whether settings are tiny."""
OUT = Path("runs/gpu")
SUBSETS = ("clipfit", "vision.ln", "text.mlp.fc2.bias")


def main() -> None:
    """Measure and print, section by section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny settings, to see that it works")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of gpu.json and gpu.md")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    torch.set_num_threads(1)
    print(machine(), end="\n\n", flush=True)
    if options.quick:
        print("Tiny settings, to see that it works: nothing below is a measurement.\n")
    sections: dict[str, Section] = {**SECTIONS, "gpu": partial(_gpu, out=options.out)}
    for name in options.sections or SECTIONS:
        for table in sections[name](options.rounds, options.quick):
            print(table, flush=True)


def _step(rounds: int, quick: bool) -> Iterator[str]:
    import step

    if quick:
        yield step.seconds([3], 2, ["clipfit"], 1, small=True)
        yield step.memory([3], 2, small=True)
        yield step.exactness([3], 2, ["clipfit"], small=True)
        return
    yield step.seconds([10, 100, 200], 8, SUBSETS[:1], rounds)
    yield step.seconds([100], 8, SUBSETS[1:], rounds)
    yield step.seconds([100], 32, SUBSETS[:1], rounds)
    yield step.memory([100], 8)
    yield step.exactness([100], 8, SUBSETS)


def _precision(rounds: int, quick: bool) -> Iterator[str]:
    import precision

    batches = [2] if quick else [8, 32]
    yield precision.seconds(batches, 1 if quick else rounds, small=quick)
    yield precision.memory(batches[0], small=quick)
    yield precision.gradients(batches[0], small=quick)
    yield precision.attention(rounds, small=quick)


def _study(rounds: int, quick: bool) -> Iterator[str]:
    import whole

    tiny = ["search.trials=8", "training.epochs=3", "confirm.seeds=[1,2]", "data.shots=4"]
    yield whole.study(["quickstart", *(tiny if quick else [])])


def _laptop(rounds: int, quick: bool) -> Iterator[str]:
    import laptop

    yield from laptop.studies(small=quick)


def _gpu(rounds: int, quick: bool, out: Path = OUT) -> Iterator[str]:
    import gpu

    yield from gpu.report(out, quick=quick)


SECTIONS: dict[str, Section] = {
    "step": _step,
    "precision": _precision,
    "study": _study,
    "laptop": _laptop,
    "gpu": _gpu,
}

if __name__ == "__main__":
    main()
