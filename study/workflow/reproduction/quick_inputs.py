"""Inputs of a quick reproduction: a dataset and a checkpoint that need no network."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.random_checkpoint import write_random_checkpoint
from study.data.readers.benchmarks import LAYOUTS
from study.data.records import SPLITS
from study.workflow.reproduction.parts import RANDOM

IMAGES, SIDE = 6, 64
"""The number of images of each class in each split, and their side in pixels."""


def write_quick_inputs(work: Path) -> None:
    """Write a miniature of EuroSAT in its layout, and a checkpoint of random weights, once."""
    write_random_checkpoint(work / RANDOM, Path(backbone_path(EMBEDDED)), patch=16)
    layout = LAYOUTS["eurosat"]
    split_file = work / "data" / layout.folder / layout.split
    if split_file.exists():
        return
    images = split_file.with_name(layout.images)
    images.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    lists: dict[str, list[Sequence[str | int]]] = {}
    for split in SPLITS:
        lists[split] = []
        for label, (raw_name, name) in enumerate(layout.renamed.items()):
            for number in range(IMAGES):
                file = f"{raw_name}_{split}_{number}.png"
                pixels = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
                Image.fromarray(pixels).save(images / file)
                lists[split].append((file, label, name))
    split_file.write_text(json.dumps(lists), encoding="utf-8")
