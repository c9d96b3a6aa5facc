"""A delta becomes a classifier of any class names, without MLflow and without the study."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config
from study.data.datasets import load_dataset
from study.errors import DataError, DeltaError
from study.method.delta import (
    HEAD_ROWS,
    DeltaInfo,
    apply_delta,
    load_delta,
    save_delta,
    without_head,
)
from study.method.model import FewShotClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.search.checkpoints import record_epochs
from study.serving.classifier import load_classifier
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.damage import change_weights
from tests.settings import clipfit_trial

NAMES = ("a cat", "a dog", "a bird")


def tested(folder: Path, tiny_backbone: Path, **changes: Any) -> Path:
    """Test a trial, and give its folder: its reports and its delta."""
    values = {"storage": str(folder), "data": {"augment": False, "shots": 4}}
    study = Study(build_config(values, "tested"), StudyFolder(folder))
    data = Preparer(study, 16).test(1)
    backbone = load_backbone(tiny_backbone)
    config = clipfit_trial(stage="test", **changes)
    *_, last = run_trial(config, data, backbone)
    info = DeltaInfo(
        backbone=str(tiny_backbone),
        revision=None,
        fingerprint=backbone.fingerprint,
        subset=config.settings.subset,
        class_names=data.class_names,
        templates=data.templates,
    )
    record_epochs(TrialFolder(folder), [last], data, info)
    return folder


LINEAR = {"head": "linear"}


@pytest.fixture(scope="module")
def delta(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delta of CLIPFit's trial."""
    return tested(tmp_path_factory.mktemp("trained"), tiny_backbone) / "delta.safetensors"


@pytest.mark.parametrize(
    "changes",
    [{}, {**LINEAR, "alpha": 0.5}, {**LINEAR, "subset": "none", "epochs": 0}],
    ids=["clipfit", "at half of α with a head", "the untouched backbone with a head"],
)
def test_the_classifier_scores_as_the_trial_that_it_comes_from(
    tiny_backbone: Path, tmp_path: Path, changes: JsonObject
):
    trained = tested(tmp_path, tiny_backbone, **changes)
    score = TrialFolder(trained).read_reports()[-1]["test_accuracy"]
    dataset = load_dataset("digits")
    images = [dataset.source.open_image(record.path) for record in dataset.test]
    classifier = load_classifier(trained / "delta.safetensors")
    assert classifier.class_names == dataset.class_names
    chosen = classifier.probabilities(images).argmax(dim=1)
    wanted = torch.tensor([record.label for record in dataset.test])
    correct = (chosen == wanted).double().mean().item()
    assert correct == pytest.approx(score, abs=1e-9)


def test_probabilities_are_those_of_the_tuned_model(delta: Path, tiny_backbone: Path):
    images = [Image.new("RGB", (16, 16), color) for color in ("red", "navy", "white")]
    classifier = load_classifier(delta, class_names=NAMES)
    backbone = load_backbone(tiny_backbone)
    tensors, info = load_delta(delta)
    apply_delta(backbone.clip, tensors)
    (template,) = info.templates
    model = FewShotClassifier(backbone, parse("none"))
    ids = backbone.tokenize([template.format(name) for name in NAMES])
    pixels = torch.stack([torch.from_numpy(np.array(image)) for image in images])
    prepared = (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        logits = model.logits(model.encode_image(prepared), model.encode_text(ids))
    expected = logits.softmax(dim=-1)
    torch.testing.assert_close(classifier.probabilities(images), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(DataError, match=r"image 2: .*none\.png"):
        classifier.probabilities([*images[:2], delta.with_name("none.png")])


def test_classes_that_the_head_knows_have_its_rows_by_name(headed: Path, tmp_path: Path):
    tensors, info = load_delta(headed)
    cat, dog, bird = info.class_names
    rows, plain = tensors[HEAD_ROWS], tmp_path / "plain.safetensors"
    save_delta(plain, without_head(tensors), info)
    own = load_classifier(headed).class_features
    assert torch.equal(own[[2, 0]], rows)
    assert torch.equal(own[1], load_classifier(plain).class_features[1])
    names = ["a cat", bird, cat, dog]
    mixed = load_classifier(headed, class_names=names).class_features
    assert torch.equal(mixed[[1, 2]], rows)
    unheaded = load_classifier(plain, class_names=names).class_features
    assert torch.equal(mixed[[0, 3]], unheaded[[0, 3]])


@pytest.mark.parametrize("fitting", [1, 2, 4, 99])
def test_a_batch_too_large_for_the_memory_is_encoded_in_parts(
    delta: Path, monkeypatch: pytest.MonkeyPatch, fitting: int
):
    images = [Image.new("L", (16, 16), 40 * level) for level in range(7)]
    classifier = load_classifier(delta)
    whole, encode = classifier.probabilities(images), StagedClassifier.encode_image

    def encode_few(self: StagedClassifier, stage: Any) -> torch.Tensor:
        features = encode(self, stage)
        if len(features) > fitting:
            raise torch.OutOfMemoryError("of CUDA")
        return features

    monkeypatch.setattr(StagedClassifier, "encode_image", encode_few)
    monkeypatch.setattr("study.serving.classifier.IMAGES_PER_BATCH", 5)
    torch.testing.assert_close(classifier.probabilities(images), whole, atol=1e-6, rtol=1e-5)
    fitting = 0
    with pytest.raises(torch.OutOfMemoryError):
        classifier.probabilities(images)


def test_a_published_list_may_repeat_a_name_and_its_classes_stay_apart(
    headed: Path, tmp_path: Path
):
    tensors, info = load_delta(headed)
    names = ("cat", "dog", "cat")
    save_delta(tmp_path / "repeated.safetensors", tensors, replace(info, class_names=names))
    model = load_classifier(tmp_path / "repeated.safetensors")
    assert torch.equal(model.class_features[[2, 0]], tensors[HEAD_ROWS])
    assert len({*model.class_names}) == len(model.from_head) + len(names) - 2 == len(names)
    row = model.predict([Image.new("L", (8, 8), 90)]).iloc[0]
    assert len(row.probabilities) == len(names)
    assert sum(row.probabilities.values()) == pytest.approx(1)
    with pytest.raises(DataError, match="as the same text"):
        load_classifier(tmp_path / "repeated.safetensors", class_names=names[::2])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"device": "tpu?"}, r"'tpu\?' is unknown; expected one of auto, cpu"),
        ({"class_names": ["cat"]}, r"class_names is \['cat'\]; expected a list of 2 or more"),
        ({"class_names": {"cat": 0, "dog": 1}}, "class_names is {'cat': 0, 'dog': 1}; expected"),
        ({"class_names": ["cat", " "]}, r"class_names is \['cat', ' '\]; expected"),
        ({"class_names": ["cat", "\udcff"]}, r"class_names is \['cat', '.udcff'\]; expected"),
        ({"class_names": ["cat", "<|endoftext|>"]}, "special tokens: '<"),
        ({"class_names": ["a cat", "a_Cat"]}, "as the same text: 'a cat' and 'a_Cat'"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(delta: Path, options: JsonObject, message: str):
    with pytest.raises(DataError, match=message):
        load_classifier(delta, **options)


def test_a_delta_of_another_backbone_is_refused_naming_both(delta: Path, checkpoint: Path):
    change_weights(checkpoint / "model.safetensors", {"logit_scale": torch.tensor(1.0)})
    expected = f"fingerprint {load_delta(delta)[1].fingerprint}; backbone '{checkpoint}'"
    with pytest.raises(DeltaError, match=expected):
        load_classifier(delta, backbone=str(checkpoint))


def test_deep_images_are_read_by_the_range_of_the_delta(delta: Path, tmp_path: Path):
    tensors, info = load_delta(delta)
    deep = tmp_path / "deep"
    save_delta(deep, tensors, replace(info, pixel_range=(0, 4095)))
    assert load_classifier(delta).reading.pixel_range is None
    assert load_classifier(deep).reading.pixel_range == (0, 4095)
