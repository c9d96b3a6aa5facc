"""The packaged datasets `digits` and `glyphs`, and the letters drawn from matplotlib's fonts.

`digits` are the ten handwritten digits of scikit-learn. `glyphs` has them and letters drawn in
fonts that the embedded checkpoint has never seen. The letters are warped and reduced to 8×8 pixels
of 17 grey levels, like the handwritten digits.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from study.data.images.sources import ArraySource
from study.data.records import Contents, Record, Records
from study.data.splits import fixed_split

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_NAMES = tuple(f"digit {word}" for word in DIGIT_WORDS)
Split = Literal["train", "test"]
Pixels = NDArray[np.uint8]
Labelled = tuple[Pixels, NDArray[np.int64]]
"""The pixels of images, and their labels."""


FONTS = ("cmr10.ttf", "cmb10.ttf", "cmti10.ttf", "cmmi10.ttf", "cmss10.ttf", "cmtt10.ttf")
"""The font files, which come with matplotlib: Computer Modern (serif, sans, italic, typewriter).
The embedded checkpoint has never seen them."""

# Capital I and O are left out: at 8×8 pixels they look like the digits 1 and 0. Two small letters
# that look like no capital and no digit bring the number of classes to 36. Each half then has 18
# classes, which three folds divide evenly.
_BASE_LETTERS = "ABCDEFGHJKLMe"
_NEW_LETTERS = "NPQRSTUVWXYZh"
LETTERS = tuple(_BASE_LETTERS + _NEW_LETTERS)


def character_name(character: str) -> str:
    """Return a character's name in captions and classes: `digit two`, `capital letter a`."""
    if character.isdecimal():
        return DIGIT_NAMES[int(character)]
    if character.isupper():
        return f"capital letter {character.lower()}"
    return f"small letter {character}"


# The base classes are the first half of the labels, so both halves get digits and letters.
GLYPH_CHARACTERS = (*"01234", *_BASE_LETTERS, *"56789", *_NEW_LETTERS)
GLYPH_CLASS_NAMES = tuple(map(character_name, GLYPH_CHARACTERS))

IMAGES = 60  # per class and split
_SEED = 2024  # of the packaged dataset, the same for every study
_CANVAS = 32  # pixels; a 4×4 block becomes one pixel, as in the source of the digits
_GREY_LEVELS = 16


@cache
def _font(file: str, pixels: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # late, as it takes long and the digits need no font

    path = Path(matplotlib.get_data_path(), "fonts/ttf", file)  # an absolute one stays as it is
    # The basic layout draws the same whether or not Pillow's text-shaping library is installed.
    return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)


def render_glyph(file: str, character: str, size: int, *, margin: int = 0) -> Pixels:
    """Draw one character white on black, centred and as large as fits.

    Args:
        file: the name of a font file that comes with matplotlib, or the path of another.
        character: a character that the font has.
        size: the height and width of the picture, in pixels.
        margin: the number of black pixels to keep on every side.

    Returns:
        (size, size) uint8.
    """
    font = _font(file, 2 * size)
    left, top, right, bottom = font.getbbox(character)
    ink_width = max(1, int(right - left))
    ink_height = max(1, int(bottom - top))
    ink = Image.new("L", (ink_width, ink_height))
    ImageDraw.Draw(ink).text((-left, -top), character, fill=255, font=font)
    scale = (size - 2 * margin) / max(ink_width, ink_height)
    width = max(1, round(ink_width * scale))
    height = max(1, round(ink_height * scale))
    scaled = ink.resize((width, height), Image.Resampling.BICUBIC)
    corner = ((size - width) // 2, (size - height) // 2)
    picture = Image.new("L", (size, size))
    picture.paste(scaled, corner)
    return np.asarray(picture, dtype=np.uint8)


def _warp(ink: Pixels, smooth: NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    """Warp a drawing strongly and reduce its size: (32, 32) uint8 → (8, 8) uint8."""
    from scipy import ndimage

    angle = rng.normal(0, 0.12)
    shear = rng.normal(0, 0.15)
    stretch_y = rng.uniform(0.85, 1.15)
    stretch_x = rng.uniform(0.75, 1.25)
    cosine = np.cos(angle)
    sine = np.sin(angle)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    matrix = rotation @ np.array([[stretch_y, 0], [shear, stretch_x]])
    middle = (_CANVAS - 1) / 2
    grid = np.indices((_CANVAS, _CANVAS)).reshape(2, -1) - middle
    control_points = rng.normal(0, 1.5, size=(2, 4, 4))
    elastic = (smooth @ control_points @ smooth.T).reshape(2, -1)
    shift = rng.normal(0, 0.8, size=(2, 1))
    places = matrix @ grid + elastic + shift + middle
    warped = ndimage.map_coordinates(ink.astype(np.float64), places, order=1)
    # A random blur and threshold make the stroke thicker or thinner.
    blur = rng.uniform(0.6, 1.2)
    soft = ndimage.gaussian_filter(warped.reshape(_CANVAS, _CANVAS), blur)
    threshold = rng.uniform(0.12, 0.4) * soft.max()
    blocks = (soft > threshold).reshape(8, 4, 8, 4).mean(axis=(1, 3))
    return _as_pixels(np.rint(blocks * _GREY_LEVELS))


def _as_pixels(levels: NDArray[np.float64]) -> Pixels:
    """Return grey levels from 0 to 16 as pixels from 0 to 255."""
    return np.round(levels * (255 / _GREY_LEVELS)).astype(np.uint8)


def warped_drawings(
    character: str, fonts: Sequence[str], count: int, rng: np.random.Generator
) -> Pixels:
    """Draw a character in each of the fonts in turn, and warp every drawing in another way.

    Returns:
        (count, 8, 8) uint8 images, white on black.
    """
    from scipy import ndimage  # late, as only drawn characters need it

    # (32, 4) float64: cubic interpolation from 4 control points to the canvas, for elastic warps.
    smooth = ndimage.zoom(np.eye(4), (_CANVAS / 4, 1), order=3)
    drawings = [render_glyph(font, character, _CANVAS, margin=1) for font in fonts]
    images = []
    for index in range(count):
        drawing = drawings[index % len(drawings)]
        images.append(_warp(drawing, smooth, rng))
    return np.stack(images)


def letter_images(split: Split) -> Labelled:
    """Draw the letters of a split, 60 images per letter, with the same pixels at every call.

    Returns:
        (n, 8, 8) uint8 images, white on black, and (n,) int64 indices into `LETTERS`.
    """
    images = []
    for letter in LETTERS:
        seed = [_SEED, ord(letter), int(split == "test")]
        rng = np.random.default_rng(seed)
        images.append(warped_drawings(letter, FONTS, IMAGES, rng))
    labels = np.repeat(np.arange(len(LETTERS)), IMAGES)
    return np.concatenate(images), labels


def read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the images and labels of `sklearn.datasets.load_digits`.

    Returns:
        (1797, 8, 8) float64 counts of inked pixels in 4×4 cells, 0 to 16, and (1797,) int64 digits.
    """
    package = find_spec("sklearn")
    if package is not None and package.origin:
        table = Path(package.origin).parent / "datasets/data/digits.csv.gz"
        if table.is_file():
            rows = np.loadtxt(table, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def digit_images(split: Split) -> Labelled:
    """Return a split of scikit-learn's handwritten digits.

    "train" has 60 images per digit, "test" has all others.

    Returns:
        (n, 8, 8) uint8 images, white on black, and (n,) int64 labels, the digit itself.
    """
    strokes, labels = read_digits()
    rng = np.random.default_rng(_SEED)
    rows = []
    for digit in np.unique(labels):
        shuffled = rng.permutation(np.flatnonzero(labels == digit))
        if split == "train":
            rows.append(shuffled[:IMAGES])
        else:
            rows.append(shuffled[IMAGES:])
    selected = np.concatenate(rows)
    return _as_pixels(strokes[selected]), labels[selected]


def glyph_images(split: Split) -> Labelled:
    """Return a split of the `glyphs` dataset, 60 images of each of the 36 classes.

    Returns:
        (n, 8, 8) uint8 images and (n,) int64 indices into `GLYPH_CLASS_NAMES`, sorted by class.
    """
    digits, digit_labels = digit_images(split)
    letters, letter_labels = letter_images(split)
    # Equal counts, so that accuracy gives digits and letters the same weight.
    images = []
    for character in GLYPH_CHARACTERS:
        if character.isdecimal():
            pool = digits[digit_labels == int(character)]
        else:
            pool = letters[letter_labels == LETTERS.index(character)]
        images.append(pool[:IMAGES])
    labels = np.repeat(np.arange(len(GLYPH_CHARACTERS)), IMAGES)
    return np.concatenate(images), labels


def add_ids(
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
    strokes, labels = read_digits()
    images, records = add_ids("digits", _as_pixels(strokes), labels)
    train, val, test = fixed_split(records, DIGIT_NAMES, key="digits", val=False)
    return DIGIT_NAMES, train, val, test, ArraySource("digits", images)


def load_glyphs() -> Contents:
    """Load 36 classes (8×8): handwritten digits, and letters in fonts not used in pretraining."""
    train_pixels, train_labels = glyph_images("train")
    images, train = add_ids("glyphs/train", train_pixels, train_labels)
    test_pixels, test_labels = glyph_images("test")
    test_images, test = add_ids("glyphs/test", test_pixels, test_labels)
    images.update(test_images)
    return GLYPH_CLASS_NAMES, train, (), test, ArraySource("glyphs", images)
