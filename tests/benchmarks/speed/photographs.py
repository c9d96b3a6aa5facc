"""Photographs, and a CLIP of the shapes of ViT-B/32 with random weights, as files that users have.

The photographs are crops of the two that come with scikit-learn, so their scores say nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

import study.embedded

SIZE = (500, 375)
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
START, END = 651, 652
"""The ids of the tokenizer of the embedded checkpoint."""


def write_checkpoint(folder: Path) -> Path:
    """Write the checkpoint, with the tokenizer of the embedded one; return its folder."""
    if folder.exists():
        return folder
    text = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
    clip = CLIPModel(CLIPConfig(text_config=text)).eval()
    clip.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    embedded = Path(study.embedded.__file__).parent / "glyph-clip"
    for name in TOKENIZER:
        shutil.copy(embedded / name, folder)
    return folder


def write_photographs(folder: Path, classes: int, images: int) -> Path:
    """Write JPEGs of 500 × 375 pixels, a folder a class; return the folder of all.

    Args:
        folder: the folder to make.
        classes: the number of classes.
        images: the number of images of each class.
    """
    if folder.exists():
        return folder
    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for number in range(classes):
        of_class = folder / f"thing {number}"
        of_class.mkdir(parents=True)
        for name in range(images):
            photograph = photographs[rng.integers(len(photographs))]
            height = int(rng.integers(250, photograph.height))
            width = height * SIZE[0] // SIZE[1]
            left = int(rng.integers(photograph.width - width + 1))
            top = int(rng.integers(photograph.height - height + 1))
            crop = photograph.crop((left, top, left + width, top + height))
            crop.resize(SIZE).save(of_class / f"{name}.jpg", quality=90)
    return folder
