"""The tiny CLIP, and its pre-training, in which a picture may have several true captions."""

import json
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from tests.embedded.drawings import (
    CHARACTERS,
    IMAGE_SIZE,
    PIXEL_MEAN,
    PIXEL_STD,
    Bank,
    all_captions,
    build_bank,
    draw_captions,
    draw_pictures,
    match,
)

logger = logging.getLogger(__name__)

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77  # tokens, as in CLIP
WORD_END = "</w>"
LEARNING_RATE = 1.5e-3  # the peak, reached after the warm-up; it then falls to 0 in a cosine


def build_tokenizer(texts: Iterable[str], *, merges: int = 160) -> CLIPTokenizer:
    """Learn a byte-pair vocabulary that keeps frequent words whole and can spell any other.

    Args:
        texts: the sentences to learn from.
        merges: the most pairs to join.
    """
    alphabet = sorted(ByteLevel.alphabet())
    # An empty tokenizer has CLIP's own normalizer and word splitting.
    learner = CLIPTokenizer(vocab={BOS: 0, EOS: 1}, merges=[]).backend_tokenizer
    learner.model = models.BPE(end_of_word_suffix=WORD_END)
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        initial_alphabet=alphabet,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    pairs = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][:merges]
    tokens = [
        *alphabet,
        # The trainer lists only the word ends in its texts; spelling any word needs all 256.
        *(letter + WORD_END for letter in alphabet),
        *map("".join, pairs),
        # Last, as in CLIP, so that pooling at the largest id works, too.
        *(BOS, EOS),
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=CONTEXT)


def build_image_processor() -> CLIPImageProcessor:
    """Return the preprocessing that pre-training, trials and exported models share."""
    return CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return the untrained model; its weights come from torch's global generator."""
    return CLIPModel(
        CLIPConfig(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": 64,
                "intermediate_size": 256,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "max_position_embeddings": CONTEXT,
                "hidden_act": "quick_gelu",
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            },
            vision_config={
                "image_size": IMAGE_SIZE,
                "patch_size": 8,
                "hidden_size": 96,
                "intermediate_size": 384,
                "num_hidden_layers": 3,
                "num_attention_heads": 3,
                "hidden_act": "quick_gelu",
            },
            projection_dim=64,
        )
    )


@torch.no_grad()
def text_residual_scale(model: CLIPModel, input_ids: torch.Tensor) -> float:
    """Return the root mean square of the text tower's last residual stream at the end tokens.

    Args:
        model: the model.
        input_ids: (texts, length) int64, each row with an end token.
    """
    hidden = model.text_model(input_ids=input_ids, output_hidden_states=True).hidden_states[-1]
    ends = (input_ids == model.config.text_config.eos_token_id).int().argmax(dim=1)
    return math.sqrt(hidden[torch.arange(len(hidden)), ends].square().mean().item())


@torch.no_grad()
def shrink_text_residual(model: CLIPModel, factor: float):
    """Divide the text tower's residual stream by a factor without changing what it computes.

    Training lets the stream grow until a bias step of ordinary size no longer moves the features.
    A LayerNorm undoes any scale of its input. So all that is added to the stream (embeddings,
    attention outputs, second MLP layers) can be divided by one factor. This is exact if the
    LayerNorms' epsilon is divided by its square.
    """
    tower = model.text_model
    blocks = ((layer.self_attn.out_proj, layer.mlp.fc2) for layer in tower.encoder.layers)
    written = nn.ModuleList([tower.embeddings, *chain.from_iterable(blocks)])
    for parameter in written.parameters():
        parameter.div_(factor)
    config = model.config.text_config
    config.layer_norm_eps /= factor**2
    for norm in (module for module in tower.modules() if isinstance(module, nn.LayerNorm)):
        norm.eps = config.layer_norm_eps


@dataclass
class Trainer:
    """A model in training, with the settings of its pre-training, its data and its optimizer."""

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

    def __post_init__(self):
        """Draw the bank, train the tokenizer and build the model."""
        self.bank: Bank = build_bank()
        self.tokenizer: CLIPTokenizer = build_tokenizer(all_captions())
        # Modules take their first weights from torch's global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model: CLIPModel = build_model(self.tokenizer)
            # Classifying characters helps both towers off the first plateau; these are not saved.
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
        """Take all steps and finish the model."""
        started = time.monotonic()
        self.model.train()
        for number in range(self.steps):
            loss = self.step(number)
            if number % 100 == 0 or number == self.steps - 1:
                logger.info("step %d: loss %.3f, %.0f s", number, loss, time.monotonic() - started)
        self.finish()
        self.model.eval()

    def step(self, number: int) -> float:
        """Take optimizer step `number`, counted from 0, and return its contrastive loss."""
        progress = number / self.steps
        # Warps start weak: at full strength, the loss would stay at chance level for a long time.
        strength = 0.6 * min(1.0, 0.15 + 0.85 * progress / 0.4)
        pictures = draw_pictures(
            self.bank, self.batch, self.generator, strength=strength, coarse_share=0.2
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

    def finish(self):
        """Scale the text tower's residual stream to its setting; the features stay the same."""
        ids = self._tokens(sorted(set(all_captions())))
        scale = text_residual_scale(self.model, ids)
        shrink_text_residual(self.model, scale / self.text_residual)
        logger.info("text residual: %.2f, made %.2f", scale, text_residual_scale(self.model, ids))

    def _learning_rate(self, number: int) -> float:
        if number < self.warmup:
            return LEARNING_RATE * ((number + 1) / self.warmup)
        rest = (number - self.warmup) / max(1, self.steps - self.warmup)
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
