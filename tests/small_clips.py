"""The small random CLIP of `tiny_backbone`, loaded anew for each test, and inputs for it."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone


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
