"""A method begins as the backbone, changes what it tunes alone, and leaves the backbone as is."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone, fingerprint
from study.method.full_tuning import FullClassifier
from study.method.model import FewShotClassifier, apply_strength
from study.method.projection import ProjectionClassifier
from study.method.subsets import parse
from tests.not_none import not_none
from tests.trained_methods import features, lora, step

Make = Callable[[Backbone], FewShotClassifier]


@pytest.fixture(
    params=[FullClassifier, lora, ProjectionClassifier], ids=["full", "lora", "projection"]
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def test_training_moves_all_that_is_tuned_and_nothing_of_the_backbone(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    names = [name for name, _ in backbone.clip.named_modules()]
    classifier = make(backbone)
    before = {name: p.detach().clone() for name, p in classifier.clip.named_parameters()}
    kept = {p.data_ptr() for p in backbone.clip.parameters()}
    owned = {n for n, p in classifier.clip.named_parameters() if p.data_ptr() not in kept}
    step(classifier, pixel_values, labels, input_ids)
    moved = {n for n, p in classifier.clip.named_parameters() if not torch.equal(p, before[n])}
    assert moved == owned == {tuned.name for tuned in classifier.tuned}
    assert all(not_none(tuned.parameter.grad).any() for tuned in classifier.tuned)
    assert fingerprint(backbone.clip) == backbone.fingerprint
    assert not any(p.requires_grad or p.grad is not None for p in backbone.clip.parameters())
    assert [name for name, _ in backbone.clip.named_modules()] == names


def test_before_training_and_at_strength_0_a_method_is_the_backbone_to_the_bit(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    zero_shot = features(FewShotClassifier(backbone, parse("none")), pixel_values, input_ids)
    classifier = make(backbone)
    assert all(map(torch.equal, features(classifier, pixel_values, input_ids), zero_shot))
    step(classifier, pixel_values, labels, input_ids)
    images, texts = trained = features(classifier, pixel_values, input_ids)
    with apply_strength(classifier.tuned, 0.0):
        untouched = features(classifier, pixel_values, input_ids)
    assert all(map(torch.equal, untouched, zero_shot))
    assert not torch.allclose(images, zero_shot[0])
    keeps_texts = make is ProjectionClassifier
    assert torch.allclose(texts, zero_shot[1]) == keeps_texts
    again = features(classifier, pixel_values, input_ids)
    assert all(map(torch.equal, again, trained)), "trained again after the block"
