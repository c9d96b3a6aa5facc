"""The fonts in which the characters are drawn that the embedded checkpoint has learned from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.embedded.letters import render_glyph


@dataclass(frozen=True)
class Face:
    """One style of one font.

    A font file may have further styles: the mathematical alphabets of Unicode, whose characters
    start at other code points.
    """

    file: str
    """The name of the font file that comes with matplotlib, or the absolute path of another."""
    bold: bool = False
    slanted: bool = False
    upper: int = ord("A")
    """The code point of the style's "A"."""
    lower: int = ord("a")
    """The code point of the style's "a"."""
    digit: int | None = ord("0")
    """The code point of the style's "0"; None means that it has no digits."""

    def code_point(self, character: str) -> int | None:
        """Return the code point that draws an ASCII letter or digit; None means there is none."""
        if character.isupper():
            return self.upper + ord(character) - ord("A")
        if character.islower():
            return self.lower + ord(character) - ord("a")
        return None if self.digit is None else self.digit + int(character)


FACES: tuple[Face, ...] = (
    Face("DejaVuSans.ttf"),
    Face("DejaVuSans-Bold.ttf", bold=True),
    Face("DejaVuSans-Oblique.ttf", slanted=True),
    Face("DejaVuSans-BoldOblique.ttf", bold=True, slanted=True),
    Face("DejaVuSansMono.ttf"),
    Face("DejaVuSansMono-Bold.ttf", bold=True),
    Face("DejaVuSansMono-Oblique.ttf", slanted=True),
    Face("DejaVuSansMono-BoldOblique.ttf", bold=True, slanted=True),
    Face("DejaVuSerif.ttf"),
    Face("DejaVuSerif-Bold.ttf", bold=True),
    Face("DejaVuSerif-Italic.ttf", slanted=True),
    Face("DejaVuSerif-BoldItalic.ttf", bold=True, slanted=True),
    Face("STIXGeneral.ttf"),
    Face("STIXGeneralBol.ttf", bold=True),
    Face("STIXGeneralItalic.ttf", slanted=True),
    Face("STIXGeneralBolIta.ttf", bold=True, slanted=True),
    Face("STIXGeneral.ttf", upper=0x1D5A0, lower=0x1D5BA, digit=0x1D7E2),
    Face("STIXGeneralBol.ttf", bold=True, upper=0x1D5D4, lower=0x1D5EE, digit=0x1D7EC),
    Face(
        "STIXGeneralItalic.ttf",
        slanted=True,
        upper=0x1D608,
        lower=0x1D622,
        digit=None,
    ),
    Face("STIXGeneral.ttf", upper=0x1D670, lower=0x1D68A, digit=0x1D7F6),
)
"""All that may be learned from: those of `tests.embedded.letters.FONTS` are held out."""


def drawable(characters: Iterable[str], faces: Sequence[Face]) -> list[tuple[Face, str]]:
    """Return the (face, character) pairs that can be drawn, grouped by character."""
    return [(f, c) for c in characters for f in faces if f.code_point(c) is not None]


def draw(face: Face, character: str, size: int, *, margin: int = 0) -> NDArray[np.uint8]:
    """Draw one character in a face; see `render_glyph`.

    Raises:
        ValueError: if the face does not have the character.
    """
    code_point = face.code_point(character)
    if code_point is None:
        raise ValueError(f"{face.file}: this alphabet has no {character!r}")
    return render_glyph(face.file, chr(code_point), size, margin=margin)
