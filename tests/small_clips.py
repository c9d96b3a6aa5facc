"""The small random CLIP of `tiny_backbone`, loaded anew for each test, and inputs for it."""

import copy
import json
import shutil
import string
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone

START, END = "<|startoftext|>", "<|endoftext|>"


@torch.no_grad()
def randomize(model: nn.Module, spread: float):
    """Draw all tensors but those of the logits, the same at every call.

    Fresh biases are 0 and fresh LayerNorm weights 1, which hides a mix-up of two of them.
    """
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if not name.startswith("logit"):
            centre = ("norm" in name or "ln" in name) and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(centre + spread * noise)


def save_clip(folder: Path) -> Path:
    """Write a checkpoint of a small CLIP, as transformers writes it.

    Its text encoder has 2 layers and its vision encoder 3, so that mixing them up shows.
    """
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    encoder = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **encoder,
            "num_hidden_layers": 2,
            "vocab_size": len(vocabulary),
            "bos_token_id": vocabulary[START],
            "eos_token_id": vocabulary[END],
            "pad_token_id": vocabulary[END],
        },
        vision_config={**encoder, "num_hidden_layers": 3, "image_size": 16, "patch_size": 8},
        projection_dim=24,
    )
    clip = CLIPModel(config)
    randomize(clip, 0.15)
    clip.save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded(tiny_backbone: Path) -> Backbone:
    return load_backbone(tiny_backbone)


@pytest.fixture
def backbone(loaded: Backbone) -> Backbone:
    """A backbone that a test may change, but for its tokenizer."""
    return replace(loaded, clip=copy.deepcopy(loaded.clip))


@pytest.fixture
def checkpoint(tiny_backbone: Path, tmp_path: Path) -> Path:
    """The folder of the backbone, which a test may change."""
    return Path(shutil.copytree(tiny_backbone, tmp_path / "checkpoint"))


def set_value(folder: Path, encoder: str | None, key: str, value: object):
    """Change a value in the configuration of a checkpoint."""
    config = json.loads((folder / "config.json").read_text())
    part = config[encoder] if encoder else config
    part[key] = value
    (folder / "config.json").write_text(json.dumps(config))


def set_end_of_text(backbone: Backbone, token_id: int):
    """Let the text encoder pool another token; the id 2 of old checkpoints means the largest."""
    backbone.clip.config.text_config.eos_token_id = token_id
    backbone.clip.text_model.eos_token_id = token_id


@pytest.fixture
def pixel_values() -> torch.Tensor:
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture
def input_ids(backbone: Backbone) -> torch.Tensor:
    return backbone.tokenize(["a photo of a cat", "a red dog", "bird"])
