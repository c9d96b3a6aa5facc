"""Rendered characters, warped, thickened, coarsened and inverted, in batches with captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from study.data.readers.glyphs import DIGIT_WORDS, character_name
from tests.embedded.faces import FACES, Face, draw, drawable
from tests.embedded.letters import FONTS

IMAGE_SIZE = 32
# Statistics of rendered pictures; the checkpoint's image processor has the same two numbers.
PIXEL_MEAN, PIXEL_STD = 0.3, 0.35

# Characters that look like another one at 8×8 pixels (O and 0, I and 1, s and S) are left out.
CHARACTERS = "0123456789" + "ABCDEFGHJKLMNPQRSTUVWXYZ" + "abdefghimnqrt"
# Digits are harder downstream (from type to handwriting), so they are drawn more often.
WEIGHTS = torch.tensor([3.0 if c.isdigit() else 1.5 if c.isupper() else 0.7 for c in CHARACTERS])
ATTRIBUTES = ("bold", "thin", "slanted", "pixelated", "dark", "bright")
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
class Bank:
    """All drawings that batches are made from."""

    ink: Tensor
    """(drawings, 1, 32, 32) float32 in [0, 1], white on black."""
    characters: Tensor
    """(drawings,) int64 indices into `CHARACTERS`."""
    styles: Tensor
    """(drawings, 2) bool, whether the font is bold, and whether it is slanted."""


@dataclass(frozen=True)
class Pictures:
    """A batch of pictures, with the character and the attributes of each."""

    pixels: Tensor
    """(batch, 3, 32, 32) float32, normalized."""
    characters: Tensor
    """(batch,) int64 indices into `CHARACTERS`."""
    attributes: Tensor
    """(batch, 6) bool, in the order of `ATTRIBUTES`."""


def build_bank(faces: Sequence[Face] = FACES) -> Bank:
    """Draw all characters in the given font faces.

    Raises:
        ValueError: a face is held out for the downstream letters.
    """
    if held_out := [face.file for face in faces if face.file in FONTS]:
        raise ValueError(f"{held_out[0]} is held out: its letters are a downstream dataset")
    pairs = drawable(CHARACTERS, faces)
    ink = np.stack([draw(face, letter, IMAGE_SIZE, margin=2) for face, letter in pairs])
    return Bank(
        ink=torch.from_numpy(ink).float().div(255).unsqueeze(1),
        characters=torch.tensor([CHARACTERS.index(letter) for _, letter in pairs]),
        styles=torch.tensor([(face.bold, face.slanted) for face, _ in pairs]),
    )


def draw_pictures(
    bank: Bank,
    count: int,
    generator: torch.Generator,
    *,
    strength: float = 1.0,
    coarse_share: float = 0.5,
) -> Pictures:
    """Draw a batch of augmented pictures.

    Args:
        bank: the drawings to choose from.
        count: the number of pictures in the batch.
        generator: the only source of randomness.
        strength: the strength of the augmentation, from 0 (none) to 1 (close to handwriting).
        coarse_share: the fraction of pictures cut to 8×8 pixels; a third of the others become
            16×16.
    """
    uniform = partial(torch.rand, generator=generator)
    normal = partial(torch.randn, generator=generator)
    rows = torch.multinomial(WEIGHTS[bank.characters], count, replacement=True, generator=generator)
    weight = -1.0 + 3.0 * uniform(count)
    ink = _warp(_thicken(bank.ink[rows], weight * strength), strength, uniform, normal)
    ink, coarse = _coarsen(ink, uniform(count), coarse_share)
    inverted = uniform(count) < 0.2
    ink = torch.where(inverted.view(-1, 1, 1, 1), 1 - ink, ink)
    contrast = 1 - 0.5 * strength * uniform(count, 1, 1, 1)
    offset = uniform(count, 1, 1, 1) * (1 - contrast)
    noise = 0.06 * strength * uniform(count, 1, 1, 1)
    pixels = ink * contrast + offset + noise * normal(ink.shape)
    bold, slanted = bank.styles[rows].T
    attributes = (bold & (weight > 0), ~bold & (weight < 0), slanted, coarse, ~inverted, inverted)
    return Pictures(
        ((pixels.clamp(0, 1) - PIXEL_MEAN) / PIXEL_STD).expand(-1, 3, -1, -1),
        bank.characters[rows],
        torch.stack(attributes, dim=1),
    )


def _thicken(ink: Tensor, weight: Tensor) -> Tensor:
    """Erode (weight below 0) or dilate strokes by up to about `weight` pixels on either side."""
    weight = weight.view(-1, 1, 1, 1)
    thicker = F.max_pool2d(ink, 3, 1, 1)
    thickest = F.max_pool2d(thicker, 3, 1, 1)
    thinner = -F.max_pool2d(-ink, (1, 3), 1, (0, 1))
    out = ink + weight.clamp(0, 1) * (thicker - ink)
    out = out + (weight - 1).clamp(0, 1) * (thickest - thicker)
    # A half-eroded stroke stays visible where a hairline would vanish.
    return out + 0.6 * (-weight).clamp(0, 1) * (thinner - ink)


def _warp(
    ink: Tensor, strength: float, uniform: Callable[..., Tensor], normal: Callable[..., Tensor]
) -> Tensor:
    """Shear, rotate, stretch, shift and bend pictures in one resampling."""
    count, size = len(ink), ink.shape[-2:]
    shear = 0.2 * normal(count) * strength
    angle = 0.15 * strength * normal(count)
    height = 1 + strength * (-0.12 + 0.32 * uniform(count))
    width = 1 + strength * (-0.25 + 0.7 * uniform(count))
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(count)
    rotation = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    stretch = torch.stack([width, shear, zero, height], dim=1).view(-1, 2, 2)
    matrix = torch.cat([rotation @ stretch, 0.07 * strength * normal(count, 2, 1)], dim=2)
    bend = torch.zeros(count, *size, 2)
    for points, pixels in ((4, 1.6), (6, 0.8)):
        coarse = normal(count, 2, points, points) * (2 * pixels / IMAGE_SIZE)
        smooth = F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)
        bend = bend + smooth.permute(0, 2, 3, 1)
    grid = F.affine_grid(matrix, list(ink.shape), align_corners=False) + strength * bend
    return F.grid_sample(ink, grid, align_corners=False)


def _coarsen(ink: Tensor, chance: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Cut some pictures to 8×8 or 16×16 pixels and enlarge them as the image processor would.

    Args:
        ink: the pictures, (batch, 1, 32, 32).
        chance: the random number that decides on each picture, (batch,) in [0, 1).
        share: the fraction of pictures cut to 8×8 pixels; a third of the others become 16×16.

    Returns:
        The pictures, and whether each was cut to 8×8 pixels, (batch,) bool.
    """
    out = ink.clone()
    middle = share + (1 - share) / 3
    for size, chosen in ((8, chance < share), (16, (chance >= share) & (chance < middle))):
        small = F.avg_pool2d(ink[chosen], IMAGE_SIZE // size)
        out[chosen] = F.interpolate(small, size=IMAGE_SIZE, mode="bicubic", antialias=True)
    return out.clamp(0, 1), chance < share


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
    formal = character_name(character)
    if character.isdigit():
        return (
            (formal, character),
            (f"number {DIGIT_WORDS[int(character)]}", character),
            (f"digit {character}", character),
            (f"number {character}", character),
        )
    letter = character.lower()
    case = "upper-case" if character.isupper() else "lower-case"
    return (
        (formal, character),
        (f"{case} letter {letter}", character),
        (f"{formal.split()[0]} {letter}", character),
        (f"letter {letter}", "".join(c for c in (letter.upper(), letter) if c in CHARACTERS)),
    )


def all_captions() -> list[str]:
    """Return every caption without an attribute, and one caption with each attribute."""
    return [
        *(t.format(name) for t in TEMPLATES for c in CHARACTERS for name, _ in names(c)),
        *(TEMPLATES[0].format(f"{a} {character_name('7')}") for a in ATTRIBUTES),
    ]


def draw_captions(
    pictures: Pictures, rng: np.random.Generator, *, with_attribute: int
) -> list[Caption]:
    """Draw one caption of every character, and some captions that claim a random attribute.

    Args:
        pictures: the batch that the captions are matched with.
        rng: the only source of randomness.
        with_attribute: the number of captions that claim an attribute, added to the others.
    """
    captions = [_draw_caption(character, rng) for character in CHARACTERS]
    rows = rng.integers(len(pictures.characters), size=with_attribute)
    claimed = (CHARACTERS[int(row)] for row in pictures.characters[rows])
    return captions + [_draw_caption(character, rng, ATTRIBUTES) for character in claimed]


def match(pictures: Pictures, captions: Sequence[Caption]) -> Tensor:
    """Return which captions are true of which pictures: (batch, captions) bool."""
    fits = torch.tensor([[c in caption.characters for caption in captions] for c in CHARACTERS])
    # A caption that claims nothing reads the last column, which is true of every picture.
    claims = [(*ATTRIBUTES, None).index(caption.attribute) for caption in captions]
    return fits[pictures.characters] & F.pad(pictures.attributes, (0, 1), value=True)[:, claims]


def _draw_caption(
    character: str, rng: np.random.Generator, attributes: Sequence[str] = ()
) -> Caption:
    """Draw a caption of a character, which claims one of the attributes if there are any."""
    name, fits = map(str, rng.choice(names(character)))
    attribute = str(rng.choice(attributes)) if attributes else None
    words = f"{attribute} {name}" if attribute else name
    return Caption(str(rng.choice(TEMPLATES)).format(words), fits, attribute)
