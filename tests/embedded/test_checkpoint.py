"""The embedded checkpoint belongs to its record, and tells its classes apart."""

import json
from pathlib import Path

import pytest
import torch

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.readers.glyphs import GLYPH_CLASS_NAMES
from study.embedded import backbone_path
from study.method.model import FewShotClassifier, encode_prompts

FOLDER = Path(backbone_path("embedded"))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(FOLDER)


def test_the_record_belongs_to_the_weights(backbone: Backbone):
    recorded = json.loads((FOLDER / "zero_shot.json").read_text("utf-8"))
    assert recorded["fingerprint"] == backbone.fingerprint
    assert (FOLDER / "model.safetensors").stat().st_size < 5e6


def test_every_class_and_any_unknown_word_has_a_text_feature_of_its_own(backbone: Backbone):
    names = [*GLYPH_CLASS_NAMES, "okapi", "ocelot"]
    prompts = backbone.tokenize([f"a photo of the {name}." for name in names])
    features = encode_prompts(FewShotClassifier(backbone), prompts)
    cosines = features @ features.T - 2 * torch.eye(len(features))
    assert cosines.max() < 0.999
    known = len(GLYPH_CLASS_NAMES)
    assert cosines[:known, :known].max() < 0.95
