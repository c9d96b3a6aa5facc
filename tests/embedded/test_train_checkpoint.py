"""The embedded checkpoint, and its trainer in a few steps."""

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.readers.glyphs import GLYPH_CLASS_NAMES
from study.embedded import backbone_path
from study.method.model import FewShotClassifier, encode_prompts
from tests.embedded.letters import FONTS
from tests.embedded.train_checkpoint import (
    FACES,
    Trainer,
    all_captions,
    contrastive_loss,
    main,
    shrink_text_residual,
    text_residual_scale,
)

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


def test_fonts_of_the_packaged_letters_are_never_learned_from():
    assert not {face.file for face in FACES} & {*FONTS}


def test_a_picture_without_a_caption_does_not_count():
    matches = torch.tensor([[True, False], [False, True], [False, False]])
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    rows = F.cross_entropy(logits[:2], torch.tensor([0, 1]))
    columns = F.cross_entropy(logits.T, torch.tensor([0, 1]))
    torch.testing.assert_close(contrastive_loss(logits, matches), (rows + columns) / 2)


def test_shrinking_the_stream_leaves_features_alone(backbone: Backbone):
    clip, ids = copy.deepcopy(backbone.clip), backbone.tokenize(["a photo of the digit seven."])
    before = text_residual_scale(clip, ids)
    shrink_text_residual(clip, 2)
    assert text_residual_scale(clip, ids) == pytest.approx(before / 2, rel=1e-3)
    with torch.no_grad():
        found, expected = (
            one.get_text_features(input_ids=ids).pooler_output for one in (clip, backbone.clip)
        )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.long
def test_the_command_trains_and_writes_a_checkpoint_of_the_recipe(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "argv", ["train", "--out", str(tmp_path), "--steps", "2"])
    main()
    trained = load_backbone(tmp_path)
    assert trained.clip.num_parameters() == backbone.clip.num_parameters()
    for clip in (trained.clip, backbone.clip):
        ids = backbone.tokenize(sorted(set(all_captions()))[::20])
        assert text_residual_scale(clip, ids) == pytest.approx(0.2, rel=0.1)


@pytest.mark.long
def test_a_short_training_leaves_chance():
    trainer = Trainer(steps=300)
    assert min(trainer.step(number) for number in range(300)) < 3.0
