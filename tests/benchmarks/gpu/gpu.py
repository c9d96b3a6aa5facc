"""All that a GPU is asked, within six minutes: tables in Markdown.

    PYTHONPATH=. python tests/benchmarks/gpu/gpu.py
    PYTHONPATH=. python tests/benchmarks/gpu/gpu.py --quick    # tiny, on the CPU: it works

It needs no Ray, Optuna or MLflow, and no installation of this project. A table is printed as soon
as it is measured. Without a GPU nothing is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.synchronize import Barrier

import torch

from tests.benchmarks.gpu.gpu_trial import trial_table
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.step.random_clip import make_step
from tests.benchmarks.step.steps import precisions_table

BATCHES = (8, 32, 128)
PROCESSES = (1, 2, 4, 8)
BATCH = 32
STEPS_A_TRIAL = 50 * 50
"""Of 50 epochs over 16 shots of 100 classes."""
SECONDS = 12.0
"""How long processes that share a GPU are counted."""


def main() -> None:
    """Measure, and print a table after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes on the CPU")
    small = parser.parse_args().quick
    if not small and not torch.cuda.is_available():
        print("no GPU: unmeasured")
        return
    device = "cpu" if small else "cuda"
    print(machine(), end="\n\n", flush=True)
    if small:
        print("Tiny shapes on the CPU, to see that it works: nothing here is a measurement.\n")
    for batch in BATCHES[: 1 if small else None]:
        print(precisions_table(batch, 20, device=device, small=small), flush=True)
    print(shared_table(device, small), flush=True)
    print(trial_table(device, small), flush=True)


def shared_table(device: str, small: bool) -> str:
    """Measure the steps of processes that share a device, and return the table."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for count in PROCESSES[: 2 if small else None]:
        with context.Manager() as manager, context.Pool(count) as pool:
            arguments = [(device, manager.Barrier(count), small)] * count
            steps = sum(pool.starmap(steps_a_second, arguments, chunksize=1))
        rows.append([str(count), f"{steps:.1f}", f"{steps * 3600 / STEPS_A_TRIAL:.0f}"])
    title = f"Processes that share a GPU, batch {BATCH}, bfloat16 held, no evaluation"
    header = ("processes", "steps/s", f"trials of {STEPS_A_TRIAL:,} steps an hour")
    return table(title, header, rows)


def steps_a_second(device: str, together: Barrier, small: bool) -> float:
    """Repeat a step beside other processes; it waits for its device to see the loss."""
    torch.set_num_threads(1)
    step = make_step(BATCH, precision="held", device=device, small=small)
    step.take_augmented()
    together.wait()
    began = time.perf_counter()
    steps = 0
    while time.perf_counter() - began < (0.2 if small else SECONDS):
        step.take_augmented()
        steps += 1
    return steps / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
