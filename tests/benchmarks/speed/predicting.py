"""How near `predict` comes to the speed of the machine, and how far it is from plain loops.

    python tests/benchmarks/speed/predicting.py --rounds 5

JPEGs of 500 × 375 pixels, a CLIP of the shapes of ViT-B/32 with random weights, ten classes,
batches of 64. All take turns, and each ratio is of one round. *Forward* is the pass of the image
encoder alone, and *decode* reads and resizes the images alone, in as many threads as `predict`. The
loops are what a user writes: Pillow opens the images of a batch, which then pass the library's own
preprocessing and the model. Not counted are imports and the loading of models. CPU seconds are of
all threads: other work of the machine changes them less, and they do not show a core that waits.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, CLIPModel

from study.backbones.load_backbone import load_backbone
from study.method.delta import DeltaInfo, save_delta
from study.method.staged import StagedClassifier
from study.serving.classifier import TunedClassifier, load_classifier
from study.serving.labelling import label_image_files
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.speed.photographs import write_checkpoint, write_photographs

BATCH = 64
NAMES = tuple(f"thing {number}" for number in range(10))
Encode = Callable[[Sequence[Path]], Tensor]
"""A function from the images of a batch to their features."""


def main() -> None:
    """Measure in turn, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--no-loops", action="store_true", help="leave the users' loops out")
    parser.add_argument("--inputs", type=Path, default=Path("runs/speed"))
    options = parser.parse_args()
    print(f"{machine()}, {torch.get_num_threads()} threads\n", flush=True)
    options.inputs.mkdir(parents=True, exist_ok=True)
    checkpoint = write_checkpoint(options.inputs.resolve() / "checkpoint")
    folder = write_photographs(options.inputs / f"{options.images}", 1, options.images)
    paths = sorted(folder.rglob("*.jpg"))
    tasks = make_tasks(checkpoint)
    if options.no_loops:
        tasks = {name: tasks[name] for name in ("predict", "forward", "decode")}
    for task in tasks.values():  # a first time, which does not count
        task(paths[:8])
    measured: dict[str, list[NDArray[np.float64]]] = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, task in tasks.items():
            began = clocks()
            task(paths)
            measured[name].append(clocks() - began)
    seconds = {name: np.array(rounds) for name, rounds in measured.items()}
    seconds = {"forward + decode": seconds["forward"] + seconds["decode"], **seconds}
    rows = []
    for name, times in seconds.items():
        ratios = times / seconds["predict"]
        cells = [spread(column, 1) for column in times.T]
        rows.append([name, *cells, *[spread(column, 2) for column in ratios.T]])
    title = f"{len(paths)} images, {options.rounds} rounds: median [least, most]"
    header = ["", "s", "CPU s", "s / s of predict", "CPU s / CPU s of predict"]
    print(table(title, header, rows))
    load = os.getloadavg()[0]
    print(f"load {load:.1f} at the end")


def clocks() -> NDArray[np.float64]:
    """Return the time, and the CPU time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def make_tasks(checkpoint: Path) -> dict[str, Callable[[Sequence[Path]], object]]:
    """Return what is measured, by name; each is called with the images."""
    classifier = make_classifier(checkpoint)
    tasks: dict[str, Callable[[Sequence[Path]], object]] = {
        "predict": lambda paths: list(
            label_image_files(classifier, paths, top=5, batch_size=BATCH)
        ),
        "forward": partial(forward, classifier),
        "decode": partial(decode, classifier),
    }
    clip = CLIPModel.from_pretrained(checkpoint)
    for backend in ("pil", "torchvision"):
        processor = AutoImageProcessor.from_pretrained(checkpoint, backend=backend)
        encode = partial(encode_by_transformers, clip, processor)
        tasks[f"transformers, {backend}"] = partial(label, encode, classifier.class_features)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32-quickgelu")
    encode = partial(encode_by_open_clip, model.eval(), preprocess)
    tasks["open_clip"] = partial(label, encode, classifier.class_features)
    return tasks


def encode_by_transformers(clip: Any, processor: Any, paths: Sequence[Path]) -> Tensor:
    """Return the features of images as the documentation of transformers computes them."""
    inputs = processor(images=[Image.open(path) for path in paths], return_tensors="pt")
    features: Tensor = clip.get_image_features(**inputs).pooler_output
    return features


def encode_by_open_clip(model: Any, preprocess: Any, paths: Sequence[Path]) -> Tensor:
    """Return the features of images as the documentation of open_clip computes them."""
    images = torch.stack([preprocess(Image.open(path)) for path in paths])
    features: Tensor = model.encode_image(images)
    return features


def make_classifier(checkpoint: Path) -> TunedClassifier:
    """Return the classifier of a delta that changes nothing."""
    fingerprint = load_backbone(checkpoint).fingerprint
    info = DeltaInfo(str(checkpoint), None, fingerprint, "none", NAMES, ("a photo of a {}.",))
    with tempfile.TemporaryDirectory() as folder:
        delta = Path(folder, "delta.safetensors")
        save_delta(delta, {}, info)
        return load_classifier(delta)


@torch.no_grad()
def forward(classifier: TunedClassifier, paths: Sequence[Path]) -> None:
    """Pass as many random images through the image encoder."""
    size = classifier.backbone.image_size
    pixels = torch.randn(BATCH, 3, size, size)
    staged = StagedClassifier(classifier.model)
    for start in range(0, len(paths), BATCH):
        staged.encode_image(staged.begin_images(pixels[: len(paths) - start]))


def decode(classifier: TunedClassifier, paths: Sequence[Path]) -> None:
    """Read and resize the images in threads."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(classifier.read_pixels, paths))


@torch.no_grad()
def label(encode: Encode, classes: Tensor, paths: Sequence[Path]) -> None:
    """Label the images batch by batch, as a user's loop does."""
    for start in range(0, len(paths), BATCH):
        features = torch.nn.functional.normalize(encode(paths[start : start + BATCH]))
        (100 * features @ classes.T).softmax(dim=-1).topk(5)


def spread(values: NDArray[np.float64], digits: int) -> str:
    """Return the median with the least and the largest value."""
    numbers = np.quantile(values, [0.5, 0, 1])
    median, least, most = [f"{number:.{digits}f}" for number in numbers]
    return f"{median} [{least}, {most}]"


if __name__ == "__main__":
    main()
