"""What a GPU gives to trials, within six minutes: tables in Markdown.

    PYTHONPATH=. python tests/benchmarks/gpu.py
    PYTHONPATH=. python tests/benchmarks/gpu.py --quick    # tiny, on the CPU: it works

Speeds are those of real trials of CLIPFit, on a CLIP with random weights in the shapes of ViT-B/16.
It needs no Ray, Optuna or MLflow, and no installation of this project. Without a GPU nothing is
measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.embedded import EMBEDDED, backbone_path
from study.method.precision import cast_matrices
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study, TrialConfig
from tests.benchmarks.measuring import machine, table
from tests.settings import clipfit_trial

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
PRECISIONS = ("float32", "bfloat16")
BATCHES = (8, 32, 128)
BATCH = 32
PROCESSES = (1, 2, 4, 8)
EPOCHS = 12
"""The epochs of a trial whose speed is measured; the first does not count."""
IMAGES_A_TRIAL = 50 * 16 * 100
"""Of 50 epochs over 16 shots of 100 classes."""


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
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        save_random_clip(place / "clip", small=small)
        rows = []
        for batch in BATCHES[: 1 if small else None]:
            speeds = [images_a_second(place, one, batch, device) for one in PRECISIONS]
            rows.append([str(batch), *(f"{speed:.0f}" for speed in speeds)])
        print(table("Images of a trial a second", ("batch", *PRECISIONS), rows), flush=True)
        print(shared_table(place, device, small=small), flush=True)
        print(trial_table(place, device, small=small), flush=True)


def save_random_clip(folder: Path, *, small: bool) -> None:
    """Save a CLIP in the shapes of ViT-B/16 with random weights, and the embedded tokenizer."""
    embedded = load_backbone(backbone_path(EMBEDDED))
    ids = embedded.clip.config.text_config
    text = {f"{name}_token_id": getattr(ids, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    vision = {"patch_size": 16, "image_size": 224}
    if small:
        shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        text |= shape
        vision |= {**shape, "num_attention_heads": 4, "image_size": 32}
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision))
    with torch.no_grad():
        for parameter in clip.parameters():  # among which zeros would be refused
            parameter.add_(0.01 * torch.randn(parameter.shape))
    clip.save_pretrained(folder)
    embedded.tokenizer.save_pretrained(folder)


def open_trial(
    place: Path, backbone: str, precision: str, device: str, *words: str
) -> tuple[TrialConfig, Preparer, Backbone]:
    """Return a trial of CLIPFit on the digits, its preparer and its loaded backbone."""
    words = (f"storage={place}", f"backbone.name={backbone}", *words)
    config = load_config(QUICKSTART, [*words, f"training.precision={precision}"])
    folder = StudyFolder(place / "gpu")
    folder.path.mkdir(exist_ok=True)
    loaded = load_backbone(backbone_path(backbone))
    cast_matrices(loaded.clip, config.training.trial_precision)
    loaded.clip.to(device)
    rate = 0.1 if backbone == EMBEDDED else 1e-6  # random weights diverge
    rates = {"bias_lr": rate, "ln_lr": rate}
    trial = clipfit_trial(training=config.training, epochs=config.training.epochs, **rates)
    return trial, Preparer(Study(config, folder), loaded.image_size), loaded


def images_a_second(
    place: Path, precision: str, batch: int, device: str, together: Barrier | None = None
) -> float:
    """Return the training images of a trial a second, a median over its epochs.

    Args:
        place: the folder with the checkpoint.
        precision: the precision of the trial.
        batch: the number of images of a step.
        device: the device of the model.
        together: where processes that share the device wait for each other.
    """
    torch.set_num_threads(1)  # as a trial has one core
    words = ("data.augment=true", f"training.batch_size={batch}", f"training.epochs={EPOCHS}")
    trial, preparer, backbone = open_trial(place, str(place / "clip"), precision, device, *words)
    reports = run_trial(trial, preparer.test(1), backbone)
    next(reports)
    if together:
        together.wait()
    return statistics.median(report.metrics["images_per_second"] for report in reports)


def shared_table(place: Path, device: str, *, small: bool) -> str:
    """Measure trials of processes that share a device, and return the table."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for count in PROCESSES[: 2 if small else None]:
        with context.Manager() as manager, context.Pool(count) as pool:
            arguments = (place, "bfloat16", BATCH, device, manager.Barrier(count))
            speed = sum(pool.starmap(images_a_second, [arguments] * count, chunksize=1))
        rows.append([str(count), f"{speed:.0f}", f"{speed * 3600 / IMAGES_A_TRIAL:.0f}"])
    title = f"Processes that share a GPU, batch {BATCH}, bfloat16, no evaluation"
    header = ("processes", "images/s", f"trials of {IMAGES_A_TRIAL:,} images an hour")
    return table(title, header, rows)


def trial_table(place: Path, device: str, *, small: bool) -> str:
    """Run a trial of the search and one of the test with the embedded model; return the table."""
    rows = []
    words = ("training.epochs=2",) if small else ()
    for precision, where in (("float32", device), ("bfloat16", device), ("float32", "cpu")):
        trial, preparer, backbone = open_trial(place, EMBEDDED, precision, where, *words)
        cells = []
        for data in (preparer.search(), preparer.test(1)):
            began = time.perf_counter()
            *_, last = run_trial(trial, data, backbone)
            cells.append(f"{time.perf_counter() - began:.1f}")
            cells.append(f"{last.metrics[f'{data.split}_score']:.3f}")
        rows.append([f"{precision} on {where}", *cells])
    title = "A trial of the first study: digits, the embedded checkpoint, CLIPFit"
    return table(title, ("", "search, s", "validation score", "test, s", "test score"), rows)


if __name__ == "__main__":
    main()
