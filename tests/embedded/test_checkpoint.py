import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPImageProcessor

from study.data.datasets import load_dataset
from study.data.readers.glyphs import GLYPH_CLASS_NAMES
from study.embedded import backbone_path
from study.embedded.measure import Bench, Setting
from study.method.model import Backbone, load_backbone

FOLDER = Path(backbone_path("embedded"))


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield load_backbone(FOLDER)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads((FOLDER / "zero_shot.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def digits(backbone: Backbone) -> Bench:
    return Bench("digits", backbone)


def test_the_record_belongs_to_the_weights(backbone: Backbone, recorded: dict[str, Any]) -> None:
    assert recorded["fingerprint"] == backbone.fingerprint
    assert (FOLDER / "model.safetensors").stat().st_size < 5e6


def test_zero_shot_accuracy_is_the_recorded_one(digits: Bench, recorded: dict[str, Any]) -> None:
    # A few images of 900 may fall on the other side with another build of torch.
    assert digits.zero_shot() == pytest.approx(recorded["zero_shot"]["digits"], abs=0.01)


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


def test_text_biases_move_the_result_and_the_distillation_holds_them(digits: Bench) -> None:
    subset = "text.mlp.fc2.bias"
    free = digits.tune(Setting(subset, 0.02, None, 0), protocol="base_to_new", seed=1)
    held = digits.tune(Setting(subset, 0.02, None, 8), protocol="base_to_new", seed=1)
    untouched = digits.zero_shot()
    assert free["base"] > untouched["base"] + 0.03
    # Text features that stay near the zero-shot ones keep the accuracy on unseen classes.
    assert held["new"] > free["new"]


def test_the_image_processor_prepares_images_as_trials_do(backbone: Backbone) -> None:
    dataset = load_dataset("digits")
    processor = CLIPImageProcessor.from_pretrained(FOLDER, local_files_only=True)
    record = dataset.test[0]
    image = dataset.source.open(record.path)
    prepared = processor(images=image, return_tensors="pt")["pixel_values"][0]
    bench = Bench("digits", backbone)
    ours = bench.pixels([record])[0]
    # One grey level of 255, divided by the standard deviation.
    assert (prepared - ours).abs().max() <= 1.01 / 255 / 0.35
