"""The embedded checkpoint: its record is of its weights, and it tells all its words apart."""

from pathlib import Path
from typing import Any

import torch

from study.backbones.backbone import Backbone
from study.data.readers.glyphs import GLYPH_CLASS_NAMES
from study.embedded import backbone_path

FOLDER = Path(backbone_path("embedded"))


def test_the_record_belongs_to_the_weights(backbone: Backbone, recorded: dict[str, Any]) -> None:
    assert recorded["fingerprint"] == backbone.fingerprint
    assert (FOLDER / "model.safetensors").stat().st_size < 5e6


def test_every_class_has_a_text_feature_of_its_own(backbone: Backbone) -> None:
    ids = backbone.tokenize([f"a photo of the {name}." for name in GLYPH_CLASS_NAMES])
    with torch.no_grad():
        features = backbone.clip.get_text_features(input_ids=ids).pooler_output
    features = torch.nn.functional.normalize(features, dim=-1)
    cosines = features @ features.T - 2 * torch.eye(len(features))
    assert cosines.max() < 0.95


def test_a_word_never_seen_in_training_still_reaches_the_text_tower(backbone: Backbone) -> None:
    ids = backbone.tokenize(["a watercolour of an okapi", "a watercolour of an ocelot"])
    with torch.no_grad():
        features = backbone.clip.get_text_features(input_ids=ids).pooler_output
    assert not torch.allclose(features[0], features[1])
