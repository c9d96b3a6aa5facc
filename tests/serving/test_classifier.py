"""A delta becomes a classifier of any class names, without MLflow and without the study."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from study.backbones.load_backbone import load_backbone
from study.data.datasets import load_dataset
from study.data.images.image_reading import ImageReading
from study.errors import DataError, DeltaError
from study.method.delta import (
    HEAD_ROWS,
    DeltaInfo,
    apply_delta,
    head_tensors,
    load_delta,
    save_delta,
)
from study.method.head import Head
from study.method.model import FewShotClassifier, accuracy
from study.method.subsets import parse
from study.serving.classifier import load_classifier
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.small_trials import study, trial

NAMES = ("a cat", "a dog", "a bird")
OPTIONS = yaml.safe_load(Path(__file__).with_name("options.yaml").read_text())


def confirmed(folder: Path, tiny_backbone: Path, **changes: Any) -> Path:
    """Test a trial, and give its folder: its reports and its delta."""
    storage = StudyFolder(folder)
    data = Preparer(Study(study("holdout", folder), storage), image_size=16).confirm(1)
    backbone = load_backbone(tiny_backbone)
    config = trial(stage="confirm", **changes)
    *_, last = run_trial(config, data, backbone)
    TrialFolder(folder).append_report({"epoch": last.epoch, **last.metrics})
    info = DeltaInfo(
        backbone=str(tiny_backbone),
        revision=None,
        fingerprint=backbone.fingerprint,
        subset=config.settings.subset,
        class_names=data.class_names,
        templates=data.templates,
    )
    save_delta(folder / "delta.safetensors", last.deltas[0], info)
    return folder


LINEAR = {"head": "linear", "head_lr": 0.01, "head_steps": 30}


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of CLIPFit's trial."""
    return confirmed(tmp_path_factory.mktemp("trained"), tiny_backbone)


@pytest.fixture(scope="module")
def delta(trained: Path) -> Path:
    return trained / "delta.safetensors"


@pytest.mark.parametrize(
    "changes",
    [{}, {**LINEAR, "strength": 0.5}, {**LINEAR, "subset": "none", "epochs": 0}],
    ids=["clipfit", "at half its strength with a head", "the untouched backbone with a head"],
)
def test_the_classifier_scores_as_the_trial_that_it_comes_from(
    tiny_backbone: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    trained = confirmed(tmp_path, tiny_backbone, **changes)
    score = TrialFolder(trained).read_reports()[-1]["test_accuracy"]
    dataset = load_dataset("digits")
    images = [dataset.source.open_image(record.path) for record in dataset.test]
    labels = [dataset.class_names[record.label] for record in dataset.test]
    classifier = load_classifier(trained / "delta.safetensors")
    chosen = classifier.probabilities(images).argmax(dim=1)
    wanted = torch.tensor([classifier.class_names.index(label) for label in labels])
    assert accuracy(chosen, wanted) == pytest.approx(score, abs=1e-9)


def test_probabilities_are_those_of_the_tuned_model(delta: Path, tiny_backbone: Path) -> None:
    images = [Image.new("RGB", (16, 16), color) for color in ("red", "navy", "white")]
    backbone = load_backbone(tiny_backbone)
    model = FewShotClassifier(backbone, parse("clipfit"))
    ids = backbone.tokenize([f"a photo of {name}." for name in NAMES])
    pixels = torch.stack([torch.from_numpy(np.array(image)) for image in images])
    prepared = (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25

    def expected() -> Tensor:
        with torch.no_grad():
            text, image = model.encode_text(ids), model.encode_image(prepared)
            return model.logits(image, text).softmax(dim=-1)

    untuned = expected()
    apply_delta(model.clip, load_delta(delta)[0])
    classifier = load_classifier(delta, class_names=NAMES, templates=["a photo of {}."])
    found = classifier.probabilities(images)
    torch.testing.assert_close(found, expected(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    assert (found - untuned).abs().max() > 1e-3, "what was tuned must matter"


def test_more_images_than_are_encoded_at_once_come_back_in_order(
    delta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = load_classifier(delta, class_names=NAMES)
    images = [Image.new("L", (16, 16), 40 * grey) for grey in range(6)]
    whole = classifier.probabilities(images)
    monkeypatch.setattr("study.serving.classifier.IMAGES_PER_BATCH", 4)
    torch.testing.assert_close(classifier.probabilities(iter(images)), whole)
    assert classifier.probabilities([]).shape == (0, 3)


def test_templates_of_a_class_are_averaged(delta: Path) -> None:
    one, other, both = (
        load_classifier(delta, class_names=NAMES, templates=templates).class_features
        for templates in (["a {}."], ["the {}!"], ["a {}.", "the {}!"])
    )
    mean = torch.nn.functional.normalize(one + other, dim=-1)
    torch.testing.assert_close(both, mean, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def headed(delta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delta with a head of the third digit and the first, and of random rows."""
    tensors, info = load_delta(delta)
    rows = torch.randn(2, 24, generator=torch.Generator().manual_seed(3))
    head = Head(torch.nn.functional.normalize(rows, dim=-1), (2, 0))
    path = tmp_path_factory.mktemp("headed") / "delta.safetensors"
    save_delta(path, {**tensors, **head_tensors(head)}, info)
    return path


def test_classes_that_the_head_knows_have_its_rows_by_name(delta: Path, headed: Path) -> None:
    tensors, info = load_delta(headed)
    zero, one, two = info.class_names[:3]
    rows = tensors[HEAD_ROWS]
    own = load_classifier(headed).class_features
    assert torch.equal(own[[2, 0]], rows)
    assert torch.equal(own[[1, 3]], load_classifier(delta).class_features[[1, 3]])
    given: dict[str, Any] = {"class_names": ["a cat", two, zero, one], "templates": ["{}"]}
    mixed = load_classifier(headed, **given).class_features
    assert torch.equal(mixed[[1, 2]], rows), "whatever the templates"
    assert torch.equal(mixed[[0, 3]], load_classifier(delta, **given).class_features[[0, 3]])


def test_logits_of_names_that_the_head_does_not_know_do_not_depend_on_it(
    delta: Path, headed: Path
) -> None:
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    names = [*NAMES, load_delta(delta)[1].class_names[0]]

    def logits(path: Path) -> Tensor:
        found = load_classifier(path, class_names=names)
        with torch.no_grad():
            return found.model.logits(found.model.encode_image(images), found.class_features)

    with_head, without = logits(headed), logits(delta)
    assert torch.equal(with_head[:, :3], without[:, :3])
    assert not torch.equal(with_head[:, 3], without[:, 3])


def test_an_image_at_fault_is_named_by_its_position(delta: Path, tmp_path: Path) -> None:
    classifier = load_classifier(delta)
    good = Image.new("RGB", (8, 8))
    with pytest.raises(DataError, match=r"image 2: .*none\.png"):
        classifier.probabilities([good, good, tmp_path / "none.png"])


@pytest.mark.parametrize(("options", "told"), OPTIONS)
def test_an_option_that_cannot_be_used_is_told(
    delta: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        load_classifier(delta, **options)


def test_a_delta_of_another_backbone_is_refused(delta: Path) -> None:
    with pytest.raises(DeltaError, match="'embedded'"):
        load_classifier(delta, backbone="embedded")


def test_deep_images_are_read_by_the_range_of_the_delta_unless_another_is_given(
    delta: Path, tmp_path: Path
) -> None:
    tensors, info = load_delta(delta)
    assert load_classifier(delta).reading.pixel_range is None
    save_delta(tmp_path / "deep", tensors, replace(info, reading=ImageReading((0, 4095))))
    assert load_classifier(tmp_path / "deep").reading.pixel_range == (0, 4095)
    other = load_classifier(tmp_path / "deep", pixel_range=[1, 255])
    assert other.reading.pixel_range == (1, 255)
