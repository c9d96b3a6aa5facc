"""The pre-training loop: contrastive, with several true captions a picture."""

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
from study.embedded.captions import Caption, all_captions, draw_captions, match
from study.embedded.drawings import CHARACTERS, Bank, build_bank, draw_pictures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How the checkpoint is trained.

    Attributes:
        steps: optimizer steps.
        batch: pictures a step.
        warp: strength of the warps once they are fully ramped up.
        coarse_share: fraction of pictures cut to 8×8 pixels.
        attribute_captions: captions a step that claim an attribute, beside one a character.
        learning_rate: at the peak, after `warmup` steps, then a cosine to zero.
        weight_decay: of AdamW, on matrices only.
        max_logit_scale: of the contrastive temperature, as exp(logit_scale).
        text_residual: root mean square that the text tower's last residual stream is left with.
        seed: of everything that is drawn.
    """

    steps: int = 1000
    batch: int = 128
    warp: float = 0.6
    coarse_share: float = 0.2
    attribute_captions: int = 24
    learning_rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.1
    max_logit_scale: float = 100.0
    text_residual: float = 0.2
    seed: int = 0


class Trainer:
    """A model in training: what one step needs, and the step."""

    def __init__(self, recipe: Recipe) -> None:
        """Draw the bank, learn the tokenizer and make the model."""
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
        # Naming the character helps both towers off the plateau; the heads are thrown away.
        heads = (*self.image_head.parameters(), *self.text_head.parameters())
        parameters = [*self.model.parameters(), *heads]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
        )

    def step(self, number: int) -> float:
        """Take optimizer step `number`, counted from 0, and return its contrastive loss."""
        recipe, progress = self.recipe, number / self.recipe.steps
        # Weak warps first: at full strength from the start the loss stays at chance for long.
        strength = recipe.warp * min(1.0, 0.15 + 0.85 * progress / 0.4)
        pictures = draw_pictures(
            self.bank,
            recipe.batch,
            self.generator,
            strength=strength,
            coarse_share=recipe.coarse_share,
        )
        captions = draw_captions(pictures, self.rng, with_attribute=recipe.attribute_captions)
        images = self.model.get_image_features(pixel_values=pictures.pixels).pooler_output
        texts = self.model.get_text_features(input_ids=self._tokens(captions)).pooler_output
        logits = (
            self.model.logit_scale.exp()
            * F.normalize(images, dim=-1)
            @ F.normalize(texts, dim=-1).T
        )
        loss = contrastive_loss(logits, match(pictures, captions))
        total = loss
        help_weight = max(0.0, 1 - 2 * progress)
        if help_weight:
            named = self.text_head(texts[: len(CHARACTERS)])
            total = total + help_weight * (
                F.cross_entropy(self.image_head(images), pictures.characters)
                + F.cross_entropy(named, torch.arange(len(CHARACTERS)))
            )
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(number, recipe)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(recipe.max_logit_scale))
        return loss.item()

    def finish(self) -> None:
        """Bring the text tower's residual stream to an ordinary scale; features stay the same."""
        texts = sorted(set(all_captions()))
        ids = self.tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
        scale = text_residual_scale(self.model, ids)
        shrink_text_residual(self.model, scale / self.recipe.text_residual)
        logger.info("text residual: %.2f, made %.2f", scale, text_residual_scale(self.model, ids))

    def _tokens(self, captions: list[Caption]) -> Tensor:
        texts = [caption.text for caption in captions]
        return self.tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Mean of both directions' cross-entropies, spread evenly over the true partners.

    Args:
        logits: (pictures, captions) float32.
        matches: (pictures, captions) bool; rows or columns without any partner are left out.
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
    """Train the model through all steps of a recipe."""
    started, trainer = time.monotonic(), Trainer(recipe)
    trainer.model.train()
    for number in range(recipe.steps):
        loss = trainer.step(number)
        if number % 100 == 0 or number == recipe.steps - 1:
            seconds = time.monotonic() - started
            logger.info("step %d: loss %.3f, %.0f s", number, loss, seconds)
    trainer.finish()
    trainer.model.eval()
    return trainer
