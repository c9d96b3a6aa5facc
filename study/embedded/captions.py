"""Captions of rendered characters: templates, names, and the captions that fit a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from study.data.readers.glyphs import DIGIT_WORDS, character_name
from study.embedded.drawings import ATTRIBUTES, CHARACTERS, Pictures

T = TypeVar("T")

TEMPLATES = (
    "a photo of the {}.",
    "a photo of a {}.",
    "a photo of one {}.",
    "a picture of the {}.",
    "an image of the {}.",
    "a drawing of the {}.",
    "a scan of the {}.",
    "a blurry photo of the {}.",
    "a low resolution photo of the {}.",
    "a close-up photo of the {}.",
    "a good photo of the {}.",
    "a handwritten {}.",
    "the {} in an unknown font.",
    "this is the {}.",
    "the {}",
    "{}",
)


@dataclass(frozen=True)
class Caption:
    """A sentence about a picture, and the pictures that it is true of."""

    text: str
    characters: str
    """All characters that the caption is true of."""
    attribute: str | None = None
    """The attribute that the caption claims, one of `ATTRIBUTES`; None means it claims none."""


def names(character: str) -> tuple[tuple[str, str], ...]:
    """Return the names of a character, each with all characters that the name fits."""
    formal = (character_name(character), character)
    if character.isdigit():
        word = DIGIT_WORDS[int(character)]
        others = (f"number {word}", f"digit {character}", f"number {character}")
        return (formal, *((name, character) for name in others))
    letter = character.lower()
    case = "upper-case" if character.isupper() else "lower-case"
    either = "".join(c for c in (letter.upper(), letter) if c in CHARACTERS)
    return (
        formal,
        (f"{case} letter {letter}", character),
        (f"{formal[0].split()[0]} {letter}", character),
        (f"letter {letter}", either),
    )


def all_captions() -> list[str]:
    """Return every caption without an attribute, and one caption with each attribute."""
    plain = [t.format(name) for t in TEMPLATES for c in CHARACTERS for name, _ in names(c)]
    return plain + [TEMPLATES[0].format(f"{a} {character_name('7')}") for a in ATTRIBUTES]


def draw_captions(
    pictures: Pictures, rng: np.random.Generator, *, with_attribute: int
) -> list[Caption]:
    """Draw one caption of every character, and some captions that claim a random attribute.

    Args:
        pictures: the batch that the captions are matched with.
        rng: the only source of randomness.
        with_attribute: the number of captions that claim an attribute, added to the others.
    """
    captions = []
    for character in CHARACTERS:
        name, fits = _choose(names(character), rng)
        captions.append(Caption(_choose(TEMPLATES, rng).format(name), fits))
    for row in rng.integers(len(pictures.characters), size=with_attribute):
        name, fits = _choose(names(CHARACTERS[int(pictures.characters[row])]), rng)
        attribute = _choose(ATTRIBUTES, rng)
        text = _choose(TEMPLATES, rng).format(f"{attribute} {name}")
        captions.append(Caption(text, fits, attribute))
    return captions


def match(pictures: Pictures, captions: Sequence[Caption]) -> Tensor:
    """Return which captions are true of which pictures: (batch, captions) bool."""
    fits = torch.tensor([[c in caption.characters for caption in captions] for c in CHARACTERS])
    claims = [
        len(ATTRIBUTES) if caption.attribute is None else ATTRIBUTES.index(caption.attribute)
        for caption in captions
    ]
    truth = torch.cat([pictures.attributes, torch.ones(len(pictures.attributes), 1).bool()], dim=1)
    return fits[pictures.characters] & truth[:, claims]


def _choose(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]
