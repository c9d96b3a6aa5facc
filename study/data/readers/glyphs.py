"""The packaged datasets `digits` and `glyphs`, whose pixels are in `glyphs.npz`.

`digits` are the ten handwritten digits of scikit-learn. `glyphs` has them and letters drawn in
fonts that the embedded checkpoint has never seen. The letters are warped and reduced to 8×8 pixels
of 17 grey levels, like the handwritten digits.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.data.images.sources import ArraySource
from study.data.records import Contents, Record, Records
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
FILE = Path(__file__).with_suffix(".npz")
"""The pixels and labels of `digits`, and the pixels of `glyphs`, sorted by class, of each split."""


def character_name(character: str) -> str:
    """Return a character's name in captions and classes: `digit two`, `capital letter a`."""
    if character.isdecimal():
        return DIGIT_NAMES[int(character)]
    if character.isupper():
        return f"capital letter {character.lower()}"
    return f"small letter {character}"


GLYPH_CLASS_NAMES = tuple(map(character_name, GLYPH_CHARACTERS))


def _with_ids(
    folder: str, pixels: Pixels, labels: NDArray[np.int64]
) -> tuple[dict[str, Pixels], Records]:
    """Give images virtual ids such as `digits/0017`; return them by id, and their records."""
    images = {}
    records = []
    for index, label in enumerate(labels.tolist()):
        path = f"{folder}/{index:04d}"
        images[path] = pixels[index]
        records.append(Record(path, label))
    return images, tuple(records)


def load_digits() -> Contents:
    """Load scikit-learn's 1,797 handwritten digits (8×8): half for train, half for test."""
    with np.load(FILE) as arrays:
        images, records = _with_ids("digits", arrays["digits"], arrays["digit_labels"])
    train, val, test = fixed_split(records, DIGIT_NAMES, key="digits", val=False)
    return DIGIT_NAMES, train, val, test, ArraySource("digits", images)


def load_glyphs() -> Contents:
    """Load 36 classes (8×8): handwritten digits, and letters in fonts not used in pretraining."""
    labels = np.repeat(np.arange(len(GLYPH_CHARACTERS)), IMAGES)
    with np.load(FILE) as arrays:
        images, train = _with_ids("glyphs/train", arrays["train"], labels)
        test_images, test = _with_ids("glyphs/test", arrays["test"], labels)
    source = ArraySource("glyphs", images | test_images)
    return GLYPH_CLASS_NAMES, train, (), test, source
