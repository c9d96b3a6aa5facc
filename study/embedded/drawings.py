"""Batches of rendered characters: drawn once, then warped, thickened, coarsened and inverted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from study.data.readers.glyphs import PRETRAINING_FACES, Face, drawable, render_glyph

IMAGE_SIZE = 32
# Statistics of rendered pictures; the checkpoint's image processor has the same two numbers.
PIXEL_MEAN, PIXEL_STD = 0.3, 0.35

# Characters that look like another one at 8×8 pixels (O and 0, I and 1, s and S) are left out.
CHARACTERS = "0123456789" + "ABCDEFGHJKLMNPQRSTUVWXYZ" + "abdefghimnqrt"
ATTRIBUTES = ("bold", "thin", "slanted", "pixelated", "dark", "bright")


@dataclass(frozen=True)
class Bank:
    """All drawings that batches are made from."""

    ink: Tensor
    """(drawings, 1, 32, 32) float32 in [0, 1], white on black."""
    characters: Tensor
    """(drawings,) int64 indices into `CHARACTERS`."""
    bold: Tensor
    """(drawings,) bool, whether the font is bold."""
    slanted: Tensor
    """(drawings,) bool, whether the font is slanted."""
    weights: Tensor
    """(drawings,) float32, proportional to the probability of each drawing."""


@dataclass(frozen=True)
class Pictures:
    """A batch of pictures, with the character and the attributes of each."""

    pixels: Tensor
    """(batch, 3, 32, 32) float32, normalized."""
    characters: Tensor
    """(batch,) int64 indices into `CHARACTERS`."""
    attributes: Tensor
    """(batch, 6) bool, in the order of `ATTRIBUTES`."""


def build_bank(faces: Sequence[Face] = PRETRAINING_FACES) -> Bank:
    """Draw all characters in the given font faces.

    Raises:
        ValueError: a face is held out for the downstream letters.
    """
    for face in faces:
        if face.held_out:
            raise ValueError(f"{face.file} is held out: its letters are a downstream dataset")
    pairs = drawable(CHARACTERS, faces)
    ink = np.stack([render_glyph(face, letter, IMAGE_SIZE, margin=2) for face, letter in pairs])
    # Digits are harder downstream (from type to handwriting), so they are drawn more often.
    share = [3.0 if c.isdigit() else 1.5 if c.isupper() else 0.7 for _, c in pairs]
    return Bank(
        ink=torch.from_numpy(ink).float().div(255).unsqueeze(1),
        characters=torch.tensor([CHARACTERS.index(letter) for _, letter in pairs]),
        bold=torch.tensor([face.bold for face, _ in pairs]),
        slanted=torch.tensor([face.slanted for face, _ in pairs]),
        weights=torch.tensor(share),
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
    rows = torch.multinomial(bank.weights, count, replacement=True, generator=generator)
    weight = _between(-1.0, 2.0, count, generator)
    shear = 0.2 * _normal((count,), generator) * strength
    ink = _thicken(bank.ink[rows], weight * strength)
    ink = _warp(ink, shear, generator, strength)
    ink, coarse = _coarsen(ink, generator, coarse_share)
    inverted = torch.rand(count, generator=generator) < 0.2
    ink = torch.where(inverted.view(-1, 1, 1, 1), 1 - ink, ink)
    contrast = 1 - 0.5 * strength * torch.rand(count, 1, 1, 1, generator=generator)
    offset = torch.rand(count, 1, 1, 1, generator=generator) * (1 - contrast)
    noise = 0.06 * strength * torch.rand(count, 1, 1, 1, generator=generator)
    pixels = ink * contrast + offset + noise * _normal(ink.shape, generator)
    bold = bank.bold[rows]
    attributes = torch.stack(
        [
            bold & (weight > 0),
            ~bold & (weight < 0),
            bank.slanted[rows],
            coarse,
            ~inverted,
            inverted,
        ],
        dim=1,
    )
    pixels = ((pixels.clamp(0, 1) - PIXEL_MEAN) / PIXEL_STD).expand(-1, 3, -1, -1)
    return Pictures(pixels, bank.characters[rows], attributes)


def _between(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator)


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


def _warp(ink: Tensor, shear: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Shear, rotate, stretch, shift and bend pictures in one resampling."""
    count = len(ink)
    angle = 0.15 * strength * _normal((count,), generator)
    height = 1 + strength * _between(-0.12, 0.2, count, generator)
    width = 1 + strength * _between(-0.25, 0.45, count, generator)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(count)
    rotation = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    stretch = torch.stack([width, shear, zero, height], dim=1).view(-1, 2, 2)
    shift = 0.07 * strength * _normal((count, 2, 1), generator)
    matrix = torch.cat([rotation @ stretch, shift], dim=2)
    grid = F.affine_grid(matrix, list(ink.shape), align_corners=False)
    bend = torch.zeros(count, *ink.shape[-2:], 2)
    for points, pixels in ((4, 1.6), (6, 0.8)):
        coarse = _normal((count, 2, points, points), generator) * (2 * pixels / IMAGE_SIZE)
        smooth = F.interpolate(coarse, size=ink.shape[-2:], mode="bicubic", align_corners=True)
        bend = bend + smooth.permute(0, 2, 3, 1)
    return F.grid_sample(ink, grid + strength * bend, align_corners=False)


def _coarsen(ink: Tensor, generator: torch.Generator, share: float) -> tuple[Tensor, Tensor]:
    """Cut some pictures to 8×8 or 16×16 pixels and enlarge them as the image processor would.

    Returns:
        The pictures, (batch, 1, 32, 32), and whether each was cut to 8×8 pixels, (batch,) bool.
    """
    chance = torch.rand(len(ink), generator=generator)
    out = ink.clone()
    middle = share + (1 - share) / 3
    for size, chosen in ((8, chance < share), (16, (chance >= share) & (chance < middle))):
        small = F.avg_pool2d(ink[chosen], IMAGE_SIZE // size)
        out[chosen] = F.interpolate(small, size=IMAGE_SIZE, mode="bicubic", antialias=True)
    return out.clamp(0, 1), chance < share
