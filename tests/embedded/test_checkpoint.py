"""The embedded checkpoint: its record is of its weights, and it tells all its words apart."""

import json
from pathlib import Path

import pytest
import torch

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.readers.glyphs import GLYPH_CLASS_NAMES
from study.embedded import backbone_path

FOLDER = Path(backbone_path("embedded"))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(FOLDER)


def test_the_record_belongs_to_the_weights(backbone: Backbone):
    recorded = json.loads((FOLDER / "zero_shot.json").read_text("utf-8"))
    assert recorded["fingerprint"] == backbone.fingerprint
    assert (FOLDER / "model.safetensors").stat().st_size < 5e6


@torch.no_grad()
def features(backbone: Backbone, texts: list[str]) -> torch.Tensor:
    ids = backbone.tokenize(texts)
    found = backbone.clip.get_text_features(input_ids=ids).pooler_output
    return torch.nn.functional.normalize(found, dim=-1)


def test_every_class_has_a_text_feature_of_its_own(backbone: Backbone):
    classes = features(backbone, [f"a photo of the {name}." for name in GLYPH_CLASS_NAMES])
    cosines = classes @ classes.T - 2 * torch.eye(len(classes))
    assert cosines.max() < 0.95


def test_a_word_never_seen_in_training_still_reaches_the_text_tower(backbone: Backbone):
    okapi, ocelot = features(backbone, ["a watercolour of an okapi", "a watercolour of an ocelot"])
    assert not torch.allclose(okapi, ocelot)
