"""All that a GPU is asked, within nine minutes: a table each, in `gpu.md` and `gpu.json`.

    python tests/benchmarks/run.py gpu --out runs/gpu
    python tests/benchmarks/run.py gpu --quick       # tiny shapes on the CPU, to see that it works

It needs torch, transformers, numpy, pyarrow, pydantic, safetensors and scikit-learn, and no
installation of this project. Each section has a share of the time, and what it does not use is for
those after it; rows for which there is no time are named. Without a GPU nothing is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from gpu_encoders import FASTER, encoders, encoders_cells
from gpu_encoders import ROWS as ENCODERS
from gpu_sections import Found, Section, measured
from gpu_step import (
    BATCH,
    STEPS,
    STEPS_A_TRIAL,
    gradients,
    gradients_cells,
    shared,
    shared_cells,
    speed,
    speed_cells,
)
from gpu_trial import ROWS as TRIALS
from gpu_trial import trial, trial_cells
from paired import machine
from step import MOVED
from ways import CLASSES, WAYS

SHAPES = f"CLIPFit at the shapes of ViT-B/16, {CLASSES} classes"
PATIENCE = 10
"""How many times the time tiny shapes may take, on a machine that may have other work."""
NOTHING = "Tiny shapes on the CPU, to see that it works: nothing here is a measurement."
SECTIONS = (
    Section(
        "speed",
        f"Training steps, {SHAPES}",
        ("ms a step", "images/s", "TFLOP/s", "of the card's peak"),
        tuple(STEPS),
        measure=speed,
        cells=speed_cells,
        seconds=100,
        notes=(
            "Autocast casts frozen matrices in each pass; held has them in bfloat16. Images travel "
            "to the GPU in each step. The peak of float32 is that without TF32.",
        ),
    ),
    Section(
        "shared",
        f"Processes that share a GPU, batch {BATCH}, bfloat16 held, no evaluation",
        ("steps/s", f"trials of {STEPS_A_TRIAL:,} steps an hour"),
        ("1", "2", "4", "8"),
        measure=shared,
        cells=shared_cells,
        seconds=150,
        notes=("The rows are processes, of a trial each.",),
    ),
    Section(
        "encoders",
        f"The encoders of a step otherwise than as they are, batch {BATCH}",
        (
            *("as they are, ms", "so, ms", f"times as fast: {FASTER} or more"),
            *("largest ‖g − g′‖ / ‖g′‖: equal within", "s to prepare", "verdict"),
        ),
        tuple(ENCODERS),
        measure=encoders,
        cells=encoders_cells,
        seconds=140,
        notes=(
            "g′ are the gradients of the encoders as they are, of tensors that were moved by "
            f"noise of {MOVED:g}. A way is kept if its gradients are equal and it is faster.",
        ),
    ),
    Section(
        "gradients",
        f"Cosines of gradients with those of float64, batch {BATCH}",
        ("median", "least", "tuned tensors"),
        tuple(WAYS),
        measure=gradients,
        cells=gradients_cells,
        seconds=50,
        notes=(
            f"Tuned tensors were moved by noise of {MOVED:g}. In float32 PyTorch lets convolutions "
            "use TF32, that of patches too, unless it is told otherwise.",
        ),
    ),
    Section(
        "trial",
        "A trial of the first study: digits, the embedded checkpoint, CLIPFit",
        ("search, s", "validation score", "test, s", "test score"),
        tuple(TRIALS),
        measure=trial,
        cells=trial_cells,
        seconds=80,
        notes=(
            "The folds of a trial are trained one after another.",
            "Seconds begin with a loaded model; the first trial of a process prepares images too.",
        ),
    ),
)


def report(out: Path, *, quick: bool = False) -> Iterator[str]:
    """Measure the GPU section by section, write the files after each, and yield what is new.

    Args:
        out: the folder of the files.
        quick: whether to use tiny shapes on the CPU.
    """
    if not quick and not torch.cuda.is_available():
        yield "GPU: no GPU: unmeasured\n"
        return
    device = "cpu" if quick else "cuda"
    out.mkdir(parents=True, exist_ok=True)
    head, found = [machine(), *([NOTHING] if quick else [])], list[Found]()
    began = end = time.monotonic()
    for section in SECTIONS:
        end += section.seconds * (PATIENCE if quick else 1)
        # On the few cores of a CPU, four and eight processes show nothing that two do not.
        fewer = quick and section.name == "shared"
        own = replace(section, rows=section.rows[:2]) if fewer else section
        found.append(measured(own, device, small=quick, end=end))
        taken = f"All took {time.monotonic() - began:.0f} s."
        parts = [f"{text}\n" for text in head] + [one.markdown() for one in found] + [taken + "\n"]
        (out / "gpu.md").write_text("\n".join(parts))
        values = {
            "machine": head[0],
            "device": device,
            "quick": quick,
            "seconds": round(time.monotonic() - began, 1),
            "sections": {one.section.name: one.values() for one in found},
        }
        (out / "gpu.json").write_text(json.dumps(values, indent=1) + "\n")
        yield found[-1].markdown()
    yield f"{taken} {out / 'gpu.md'} and {out / 'gpu.json'} have these tables."
