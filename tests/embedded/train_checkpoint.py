"""Train the embedded checkpoint again: a tiny CLIP of rendered characters and their captions.

The command is `python -m tests.embedded.train_checkpoint --out DIR`. A picture may have several
true captions.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from study.data.readers.glyphs import DIGIT_WORDS, character_name
from study.embedded import backbone_path
from tests.embedded.letters import render_glyph

IMAGE_SIZE = 32
# Statistics of rendered pictures; the checkpoint's image processor has the same two numbers.
PIXEL_MEAN, PIXEL_STD = 0.3, 0.35
COARSE = 0.2  # the share of pictures cut to 8×8 pixels; a third of the others become 16×16

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

FOLDER = backbone_path("embedded")
"""Has the shape of the model, the tokenizer and the image processor."""
STEPS, BATCH, WARMUP = 1000, 128, 100  # optimizer steps, pictures in each, steps of a rising rate
TEXT_RESIDUAL = 0.2
"""The root mean square of the text encoder's last residual stream in the finished model."""
LEARNING_RATE = 1.5e-3  # the peak, reached after the warm-up; it then falls to 0 in a cosine


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
    Face("STIXGeneralItalic.ttf", slanted=True, upper=0x1D608, lower=0x1D622, digit=None),
    Face("STIXGeneral.ttf", upper=0x1D670, lower=0x1D68A, digit=0x1D7F6),
)
"""All that may be learned from: those of `tests.embedded.letters.FONTS` are held out."""


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


def build_bank() -> Bank:
    """Draw all characters in all font faces that have them."""
    drawn = [
        (character, face, code)
        for character in CHARACTERS
        for face in FACES
        if (code := face.code_point(character)) is not None
    ]
    ink = [render_glyph(face.file, chr(code), IMAGE_SIZE, margin=2) for _, face, code in drawn]
    return Bank(
        ink=torch.from_numpy(np.stack(ink)).float().div(255).unsqueeze(1),
        characters=torch.tensor([CHARACTERS.index(character) for character, _, _ in drawn]),
        styles=torch.tensor([(face.bold, face.slanted) for _, face, _ in drawn]),
    )


def draw_pictures(
    bank: Bank, count: int, generator: torch.Generator, *, strength: float = 1.0
) -> Pictures:
    """Draw a batch of augmented pictures.

    Args:
        bank: the drawings to choose from.
        count: the number of pictures in the batch.
        generator: the only source of randomness.
        strength: the strength of the augmentation, from 0 (none) to 1 (close to handwriting).
    """
    uniform = partial(torch.rand, generator=generator)
    normal = partial(torch.randn, generator=generator)
    rows = torch.multinomial(WEIGHTS[bank.characters], count, replacement=True, generator=generator)
    weight = -1.0 + 3.0 * uniform(count)
    ink = _warp(_thicken(bank.ink[rows], weight * strength), strength, uniform, normal)
    ink, coarse = _coarsen(ink, uniform(count))
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


def _coarsen(ink: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Cut some pictures to 8×8 or 16×16 pixels and enlarge them as the image processor would.

    Args:
        ink: the pictures, (batch, 1, 32, 32).
        chance: the random number that decides on each picture, (batch,) in [0, 1).

    Returns:
        The pictures, and whether each was cut to 8×8 pixels, (batch,) bool.
    """
    out = ink.clone()
    middle = COARSE + (1 - COARSE) / 3
    for size, chosen in ((8, chance < COARSE), (16, (chance >= COARSE) & (chance < middle))):
        small = F.avg_pool2d(ink[chosen], IMAGE_SIZE // size)
        out[chosen] = F.interpolate(small, size=IMAGE_SIZE, mode="bicubic", antialias=True)
    return out.clamp(0, 1), chance < COARSE


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


def build_model() -> CLIPModel:
    """Return the untrained model; its weights come from torch's global generator."""
    config = CLIPConfig.from_pretrained(FOLDER)
    config.text_config.layer_norm_eps = config.vision_config.layer_norm_eps
    return CLIPModel(config)


@torch.no_grad()
def text_residual_scale(model: CLIPModel, input_ids: torch.Tensor) -> float:
    """Return the root mean square of the text encoder's last residual stream at the end tokens.

    Args:
        model: the model.
        input_ids: (texts, length) int64, each row with an end token.
    """
    hidden = model.text_model(input_ids=input_ids, output_hidden_states=True).hidden_states[-1]
    ends = (input_ids == model.config.text_config.eos_token_id).int().argmax(dim=1)
    return math.sqrt(hidden[torch.arange(len(hidden)), ends].square().mean().item())


@torch.no_grad()
def shrink_text_residual(model: CLIPModel, factor: float):
    """Divide the text encoder's residual stream by a factor without changing what it computes.

    Training lets the stream grow until a bias step of ordinary size no longer moves the features.
    A LayerNorm undoes any scale of its input. So all that is added to the stream (embeddings,
    attention outputs, second MLP layers) can be divided by one factor. This is exact if the
    LayerNorms' epsilon is divided by its square.
    """
    encoder = model.text_model
    blocks = ((layer.self_attn.out_proj, layer.mlp.fc2) for layer in encoder.encoder.layers)
    written = nn.ModuleList([encoder.embeddings, *chain.from_iterable(blocks)])
    for parameter in written.parameters():
        parameter.div_(factor)
    config = model.config.text_config
    config.layer_norm_eps /= factor**2
    for norm in (module for module in encoder.modules() if isinstance(module, nn.LayerNorm)):
        norm.eps = config.layer_norm_eps


@dataclass
class Trainer:
    """A model in training, with the settings of its pre-training, its data and its optimizer."""

    steps: int = STEPS
    """The number of optimizer steps."""
    seed: int = 0
    """The seed of the initial weights, the pictures and the captions."""

    def __post_init__(self):
        """Draw the bank and build the model."""
        self.bank: Bank = build_bank()
        self.tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(FOLDER)
        # Modules take their first weights from torch's global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model: CLIPModel = build_model()
            # Classifying characters helps both encoders off the first plateau; these are not saved.
            self.image_head, self.text_head = (
                nn.Linear(self.model.config.projection_dim, len(CHARACTERS)) for _ in range(2)
            )
        self.generator = torch.Generator().manual_seed(self.seed)
        self.rng = np.random.default_rng(self.seed)
        trained = [*nn.ModuleList([self.model, self.image_head, self.text_head]).parameters()]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.1},
                {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=LEARNING_RATE,
            betas=(0.9, 0.98),
        )

    def run(self):
        """Take all steps, and scale the text encoder's residual stream to its setting."""
        started = time.monotonic()
        self.model.train()
        for number in range(self.steps):
            loss = self.step(number)
            if number % 100 == 0:
                print(f"step {number}: loss {loss:.3f}, {time.monotonic() - started:.0f} s")
        ids = self._tokens(sorted(set(all_captions())))
        shrink_text_residual(self.model, text_residual_scale(self.model, ids) / TEXT_RESIDUAL)
        self.model.eval()

    def step(self, number: int) -> float:
        """Take optimizer step `number`, counted from 0, and return its contrastive loss."""
        progress = number / self.steps
        # Warps start weak: at full strength, the loss would stay at chance level for a long time.
        strength = 0.6 * min(1.0, 0.15 + 0.85 * progress / 0.4)
        pictures = draw_pictures(self.bank, BATCH, self.generator, strength=strength)
        captions = draw_captions(pictures, self.rng, with_attribute=24)
        images = self.model.get_image_features(pixel_values=pictures.pixels).pooler_output
        input_ids = self._tokens([caption.text for caption in captions])
        texts = self.model.get_text_features(input_ids=input_ids).pooler_output
        logits = (
            self.model.logit_scale.exp()
            * F.normalize(images, dim=-1)
            @ F.normalize(texts, dim=-1).T
        )
        total = loss = contrastive_loss(logits, match(pictures, captions))
        if help_weight := max(0.0, 1 - 2 * progress):
            # The first captions are of each character in turn.
            named = self.text_head(texts[: len(CHARACTERS)])
            total = loss + help_weight * (
                F.cross_entropy(self.image_head(images), pictures.characters)
                + F.cross_entropy(named, torch.arange(len(CHARACTERS)))
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(number)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.model.logit_scale.data.clamp_(max=math.log(100))
        return loss.item()

    def _learning_rate(self, number: int) -> float:
        if number < WARMUP:
            return LEARNING_RATE * ((number + 1) / WARMUP)
        rest = (number - WARMUP) / max(1, self.steps - WARMUP)
        return LEARNING_RATE * (0.5 * (1 + math.cos(math.pi * rest)))

    def _tokens(self, texts: list[str]) -> Tensor:
        return self.tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the mean of the cross-entropies of both directions, () float32.

    The target of each row or column is spread evenly over its true partners.

    Args:
        logits: (pictures, captions) float32.
        matches: (pictures, captions) bool; rows and columns without a partner are left out.
    """
    losses = [
        F.cross_entropy(scores[kept], partners[kept] / partners[kept].sum(dim=1, keepdim=True))
        for scores, partners, kept in (
            (logits, matches, matches.any(dim=1)),
            (logits.T, matches.T, matches.any(dim=0)),
        )
    ]
    return torch.stack(losses).mean()


def main():
    """Train and save a checkpoint in Hugging Face format."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws")
    arguments = parser.parse_args()
    # The number of threads changes the order of sums and so the weights; one works everywhere.
    torch.set_num_threads(1)
    trainer = Trainer(arguments.steps, arguments.seed)
    trainer.run()
    for part in (trainer.model, trainer.tokenizer, CLIPImageProcessor.from_pretrained(FOLDER)):
        part.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
