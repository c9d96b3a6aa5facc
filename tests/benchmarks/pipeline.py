"""Images per second on their way to the model, beside torchvision with a DataLoader.

    python tests/benchmarks/pipeline.py

JPEG files of 500 × 375 pixels; random resized crop to 224, flip, normalisation, batches of 32. A
DataLoader decodes every image in every epoch, as the reference does; here all are decoded once, and
what that takes is told beside.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from paired import machine, medians, table
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from study.data.images.decode import decode_images
from study.data.images.sources import FolderSource
from study.data.images.table import ImageTable, normalize, random_resized_crop_flip

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
BATCH = 32


class Files(Dataset[torch.Tensor]):
    """JPEG files, decoded and augmented by torchvision as the reference does."""

    def __init__(self, root: Path, names: list[str], size: int) -> None:
        self._paths = [root / name for name in names]
        self._transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(
                    size, interpolation=transforms.InterpolationMode.BICUBIC
                ),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self._paths[index]) as image:
            return self._transform(image.convert("RGB"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n")
    print(images_per_second(options.images, options.rounds))


def images_per_second(count: int, rounds: int, *, size: int = 224) -> str:
    """Measure epochs over ``count`` images in turn, in wall seconds; give the table."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = _write_images(root, count)
        files = Files(root, names, size)
        began = time.perf_counter()
        decoded = ImageTable(
            decode_images(
                FolderSource(root), names, size=size, cache=root, key="all", keep_aspect=True
            )
        )
        decoding = time.perf_counter() - began
        generator = torch.Generator().manual_seed(0)

        def ours() -> None:
            for at in range(0, count, BATCH):
                pixels = decoded.images(names[at : at + BATCH])
                normalize(random_resized_crop_flip(pixels, size, generator), MEAN, STD)

        def theirs(workers: int) -> None:
            for _ in DataLoader(files, batch_size=BATCH, num_workers=workers):
                pass

        epochs = {
            "decoded once, one process": ours,
            "torchvision, one process": lambda: theirs(0),
            f"torchvision, {cores} workers": lambda: theirs(cores),
        }
        found = medians(epochs, rounds, time.perf_counter)
    rows = [
        [name, f"{count / one:.0f}", f"{one / found['decoded once, one process']:.1f}"]
        for name, one in found.items()
    ]
    rows.append(["(decoding them once)", f"{count / decoding:.0f}", ""])
    title = f"Images per second, {count} JPEGs of 500 × 375 to {size} pixels, medians of {rounds}"
    return table(title, ("", "images/s", "time over ours"), rows)


def _write_images(root: Path, count: int) -> list[str]:
    """Write smooth random images: noise would make larger files than photographs are."""
    generator = np.random.default_rng(0)
    names = [f"{number:04d}.jpg" for number in range(count)]
    for name in names:
        coarse = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        image.save(root / name, quality=90)
    return names


if __name__ == "__main__":
    main()
