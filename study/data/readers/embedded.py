"""Datasets that come with the installed packages, so that nothing is downloaded."""

import numpy as np
from numpy.typing import NDArray

from study.data.images.sources import ArraySource
from study.data.prompts import templates_of
from study.data.readers.digits import DIGIT_NAMES, read_digits
from study.data.records import Dataset, Record, fixed_split


def load_digits() -> Dataset:
    """Load scikit-learn's 1,797 handwritten digits (8×8): half for train, half for test."""
    strokes, labels = read_digits()
    pixels = np.round(strokes * (255 / 16)).astype(np.uint8)
    paths = [f"digits/{index:04d}" for index in range(len(pixels))]
    records = [Record(path, int(label)) for path, label in zip(paths, labels, strict=True)]
    train, val, test = fixed_split(records, DIGIT_NAMES, key="digits", val=False)
    return Dataset(
        name="digits",
        class_names=DIGIT_NAMES,
        templates=templates_of("digits"),
        train=train,
        val=val,
        test=test,
        source=ArraySource("digits", dict(zip(paths, pixels, strict=True))),
    )


def load_glyphs() -> Dataset:
    """Load 36 classes (8×8): handwritten digits, and letters in fonts not used in pretraining."""
    # Imported here because it imports matplotlib and SciPy.
    from study.data.readers.glyphs import GLYPH_CLASS_NAMES, glyph_images

    images: dict[str, NDArray[np.uint8]] = {}
    splits: dict[str, tuple[Record, ...]] = {}
    for split in ("train", "test"):
        pixels, labels = glyph_images(split)
        paths = [f"glyphs/{split}/{index:04d}" for index in range(len(pixels))]
        images.update(zip(paths, pixels, strict=True))
        splits[split] = tuple(
            Record(path, int(label)) for path, label in zip(paths, labels, strict=True)
        )
    return Dataset(
        name="glyphs",
        class_names=GLYPH_CLASS_NAMES,
        templates=templates_of("glyphs"),
        train=splits["train"],
        val=(),
        test=splits["test"],
        source=ArraySource("glyphs", images),
    )
