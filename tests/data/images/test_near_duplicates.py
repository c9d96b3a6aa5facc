"""Near-duplicates: copies of photographs in another form, and what is none."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from study.data.datasets import load_dataset
from study.data.images.near_duplicates import (
    PixelHashes,
    find_near_duplicates,
    perceptual_hash,
)
from study.data.records import SPLITS, Record
from tests.paper_dataset import make_paper_dataset

PHOTO = Image.fromarray(load_sample_image("china.jpg"))


def as_jpeg(image: Image.Image) -> Image.Image:
    """Return an image after a lossy file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


COPIES = {
    "small": PHOTO.resize((160, 107)),
    "jpeg": as_jpeg(PHOTO),
}


@pytest.mark.parametrize("form", COPIES)
def test_a_copy_is_found_with_its_original_and_other_images_are_not(form: str):
    images = {
        "train/0": PHOTO.crop((0, 0, 320, 213)),
        "val/0": PHOTO,
        "test/copy": COPIES[form],
        "test/same": PHOTO,
        "test/other": PHOTO.crop((320, 213, 640, 427)),
    }
    hashes = {}
    for name, image in images.items():
        hashes[name] = PixelHashes(image.tobytes(), perceptual_hash(image))
    splits: dict[str, Any] = {}
    for split in SPLITS:
        splits[split] = tuple(Record(path, 0) for path in images if path.startswith(split))
    dataset = replace(make_paper_dataset(), **splits)
    assert find_near_duplicates(dataset, hashes) == ({"test/copy": "val/0"}, 0)
    assert find_near_duplicates(dataset, hashes, seconds=-1) == ({}, 3)
    assert find_near_duplicates(dataset, {}) == ({}, 0)


@pytest.mark.parametrize("name", ["digits", "glyphs"])
def test_no_image_of_the_packaged_datasets_is_taken_for_a_copy(name: str):
    dataset = load_dataset(name)
    hashes = {}
    for record in (*dataset.train, *dataset.val, *dataset.test):
        image = dataset.source.open_image(record.path)
        hashes[record.path] = PixelHashes(image.tobytes(), perceptual_hash(image))
    assert find_near_duplicates(dataset, hashes) == ({}, 0)


def test_flat_images_are_like_none():
    shade = np.broadcast_to(np.arange(0, 250, 5, dtype=np.uint8), (40, 50))
    for image in (Image.new("RGB", (64, 64), "red"), Image.fromarray(shade)):
        assert perceptual_hash(image) == b""
