"""The packaged datasets `digits` and `glyphs`.

`digits` are the ten handwritten digits of scikit-learn. `glyphs` has some of them, and letters
drawn in fonts that the embedded checkpoint has never seen; its pixels are in `glyphs.safetensors`.
The letters are warped and reduced to 8×8 pixels of 17 grey levels, like the handwritten digits.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from study.data.images.sources import ArraySource
from study.data.records import Contents, Record, Records, Splits
from study.data.splits import fixed_split

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_NAMES = tuple(f"digit {word}" for word in DIGIT_WORDS)
Pixels = NDArray[np.uint8]

# Capital I and O are left out: at 8×8 pixels they look like the digits 1 and 0. Two small letters
# that look like no capital and no digit bring the number of classes to 36. Each half then has 18
# classes, which three folds divide evenly. The base classes are the first half of the labels, so
# both halves get digits and letters.
GLYPH_CHARACTERS = "01234ABCDEFGHJKLMe56789NPQRSTUVWXYZh"
IMAGES = 60
"""The images of `glyphs` per class and split."""
FILE = Path(__file__).with_name("glyphs.safetensors")
"""The pixels of each split, (classes · `IMAGES`, 8, 8) uint8, class by class."""


def _class_name(character: str) -> str:
    """Return the class name of a character, such as `digit two` or `capital letter a`."""
    if character.isdecimal():
        return DIGIT_NAMES[int(character)]
    return f"{'capital' if character.isupper() else 'small'} letter {character.lower()}"


GLYPH_CLASS_NAMES = tuple(map(_class_name, GLYPH_CHARACTERS))


def _with_ids(
    folder: str, pixels: Pixels, labels: NDArray[np.int64]
) -> tuple[dict[str, Pixels], Records]:
    """Give images virtual ids such as `digits/0017`; return them by id, and their records."""
    paths = [f"{folder}/{index:04d}" for index in range(len(labels))]
    records = tuple(map(Record, paths, labels.tolist()))
    return dict(zip(paths, pixels, strict=True)), records


def read_digits() -> tuple[Pixels, NDArray[np.int64]]:
    """Return the images of `sklearn.datasets.load_digits`, (1797, 8, 8) uint8, and the digits.

    Its table is read without importing scikit-learn, which takes long.
    """
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin
    rows = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    pixels = np.round(rows[:, :-1] * (255 / 16)).astype(np.uint8)
    return pixels.reshape(-1, 8, 8), rows[:, -1].astype(np.int64)


def load_digits() -> Contents:
    """Load scikit-learn's 1,797 handwritten digits (8×8): half for train, half for test."""
    images, records = _with_ids("digits", *read_digits())
    splits = fixed_split(records, DIGIT_NAMES, key="digits", val=False)
    return DIGIT_NAMES, splits, ArraySource("digits", images)


def load_glyphs() -> Contents:
    """Load 36 classes (8×8): handwritten digits, and letters in fonts not used in pretraining."""
    labels = np.repeat(np.arange(len(GLYPH_CHARACTERS)), IMAGES)
    pixels = load_file(FILE)
    images, train = _with_ids("glyphs/train", pixels["train"], labels)
    test_images, test = _with_ids("glyphs/test", pixels["test"], labels)
    source = ArraySource("glyphs", images | test_images)
    return GLYPH_CLASS_NAMES, Splits(train, (), test), source
