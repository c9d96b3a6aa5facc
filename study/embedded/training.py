"""Contrastive pre-training, in which a picture may have several true captions."""

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from study.embedded.architecture import (
    build_model,
    build_tokenizer,
    shrink_text_residual,
    text_residual_scale,
)
from study.embedded.captions import all_captions, draw_captions, match
from study.embedded.drawings import CHARACTERS, Bank, build_bank, draw_pictures

logger = logging.getLogger(__name__)

LEARNING_RATE = 1.5e-3  # the peak, reached after the warm-up; it then falls to 0 in a cosine


@dataclass(frozen=True)
class Recipe:
    """The settings of the pre-training."""

    steps: int = 1000
    """The number of optimizer steps."""
    batch: int = 128
    """The number of pictures in a step."""
    warmup: int = 100
    """The optimizer steps in which the learning rate rises linearly."""
    text_residual: float = 0.2
    """The root mean square of the text tower's last residual stream in the finished model."""
    seed: int = 0
    """The seed of the initial weights, the pictures and the captions."""


class Trainer:
    """A model in training, with its data and its optimizer."""

    def __init__(self, recipe: Recipe) -> None:
        """Draw the bank, train the tokenizer and build the model."""
        self.recipe = recipe
        self.bank: Bank = build_bank()
        self.tokenizer: CLIPTokenizer = build_tokenizer(all_captions())
        # Modules take their first weights from torch's global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model: CLIPModel = build_model(self.tokenizer)
            width = self.model.config.projection_dim
            self.image_head = nn.Linear(width, len(CHARACTERS))
            self.text_head = nn.Linear(width, len(CHARACTERS))
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.rng = np.random.default_rng(recipe.seed)
        # Classifying characters helps both towers off the first plateau; the heads are not saved.
        parts = (self.model, self.image_head, self.text_head)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=LEARNING_RATE,
            betas=(0.9, 0.98),
            weight_decay=0.1,
        )

    def step(self, number: int) -> float:
        """Take optimizer step `number`, counted from 0, and return its contrastive loss."""
        recipe, progress = self.recipe, number / self.recipe.steps
        # Warps start weak: at full strength, the loss would stay at chance level for a long time.
        strength = 0.6 * min(1.0, 0.15 + 0.85 * progress / 0.4)
        pictures = draw_pictures(
            self.bank,
            recipe.batch,
            self.generator,
            strength=strength,
            coarse_share=0.2,
        )
        captions = draw_captions(pictures, self.rng, with_attribute=24)
        images = self.model.get_image_features(pixel_values=pictures.pixels).pooler_output
        input_ids = self._tokens([caption.text for caption in captions])
        texts = self.model.get_text_features(input_ids=input_ids).pooler_output
        logits = (
            self.model.logit_scale.exp()
            * F.normalize(images, dim=-1)
            @ F.normalize(texts, dim=-1).T
        )
        loss = contrastive_loss(logits, match(pictures, captions))
        total = loss
        if help_weight := max(0.0, 1 - 2 * progress):
            named = self.text_head(texts[: len(CHARACTERS)])
            total = total + help_weight * (
                F.cross_entropy(self.image_head(images), pictures.characters)
                + F.cross_entropy(named, torch.arange(len(CHARACTERS)))
            )
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(number, recipe)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(100))
        return loss.item()

    def finish(self) -> None:
        """Scale the text tower's residual stream to the recipe's; the features stay the same."""
        ids = self._tokens(sorted(set(all_captions())))
        scale = text_residual_scale(self.model, ids)
        shrink_text_residual(self.model, scale / self.recipe.text_residual)
        logger.info("text residual: %.2f, made %.2f", scale, text_residual_scale(self.model, ids))

    def _tokens(self, texts: list[str]) -> Tensor:
        return self.tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Return the mean of the cross-entropies of both directions, () float32.

    The target of each row or column is spread evenly over its true partners.

    Args:
        logits: (pictures, captions) float32.
        matches: (pictures, captions) bool; rows and columns without a partner are left out.
    """
    losses = []
    for scores, partners in ((logits, matches), (logits.T, matches.T)):
        counts = partners.sum(dim=1)
        target = partners[counts > 0] / counts[counts > 0].unsqueeze(1)
        losses.append(F.cross_entropy(scores[counts > 0], target))
    return torch.stack(losses).mean()


def _schedule(number: int, recipe: Recipe) -> float:
    if number < recipe.warmup:
        return (number + 1) / recipe.warmup
    rest = (number - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * rest))


def pretrain(recipe: Recipe) -> Trainer:
    """Train a model for all steps of a recipe and return its trainer."""
    started, trainer = time.monotonic(), Trainer(recipe)
    trainer.model.train()
    for number in range(recipe.steps):
        loss = trainer.step(number)
        if number % 100 == 0 or number == recipe.steps - 1:
            logger.info("step %d: loss %.3f, %.0f s", number, loss, time.monotonic() - started)
    trainer.finish()
    trainer.model.eval()
    return trainer
