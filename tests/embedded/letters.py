"""The letters of the packaged dataset `glyphs`, drawn in fonts that matplotlib has.

The command `python -m tests.embedded.letters` writes them to
`study/data/readers/letters.safetensors`.
"""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import save_file
from scipy import ndimage

from study.data.readers.glyphs import FILE, GLYPH_CHARACTERS, IMAGES, SPLITS, Pixels

FONTS = ("cmr10.ttf", "cmb10.ttf", "cmti10.ttf", "cmmi10.ttf", "cmss10.ttf", "cmtt10.ttf")
"""The font files, which come with matplotlib: Computer Modern (serif, sans, italic, typewriter).
The embedded checkpoint has never seen them."""
_SEED = 2024
_CANVAS = 32  # pixels; a 4×4 block becomes one pixel, as in the source of the digits
_GREY_LEVELS = 16


@cache
def _font(file: str, pixels: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path(), "fonts/ttf", file)
    # The basic layout draws the same whether or not Pillow's text-shaping library is installed.
    return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)


def render_glyph(file: str, character: str, size: int, *, margin: int = 0) -> Pixels:
    """Draw one character white on black, centred and as large as fits.

    Args:
        file: the name of a font file that comes with matplotlib.
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
    levels = np.rint(blocks * _GREY_LEVELS)
    return np.round(levels * (255 / _GREY_LEVELS)).astype(np.uint8)


def letter_images(letter: str, split: str) -> Pixels:
    """Draw the images of a letter in a split: in each font in turn, each warped in another way.

    Returns:
        (images, 8, 8) uint8, white on black, with the same pixels at every call.
    """
    rng = np.random.default_rng([_SEED, ord(letter), int(split == "test")])
    # (32, 4) float64: cubic interpolation from 4 control points to the canvas, for elastic warps.
    smooth = ndimage.zoom(np.eye(4), (_CANVAS / 4, 1), order=3)
    drawings = [render_glyph(font, letter, _CANVAS, margin=1) for font in FONTS]
    images = [_warp(drawings[index % len(FONTS)], smooth, rng) for index in range(IMAGES)]
    return np.stack(images)


def drawn_letters() -> dict[str, Pixels]:
    """Return the arrays of `letters.safetensors`."""
    letters = [character for character in GLYPH_CHARACTERS if not character.isdecimal()]
    return {
        split: np.concatenate([letter_images(letter, split) for letter in letters])
        for split in SPLITS
    }


if __name__ == "__main__":
    save_file(drawn_letters(), FILE)
