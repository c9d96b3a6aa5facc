"""A peer begins as the backbone, changes what it tunes alone, and leaves the backbone as it was."""

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
from tests.trained_peers import features, lora, step

Make = Callable[[Backbone], FewShotClassifier]


@pytest.fixture(
    params=[FullClassifier, lora, ProjectionClassifier], ids=["full", "lora", "projection"]
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def test_the_gradient_reaches_all_that_is_tuned_and_nothing_else(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    classifier = make(backbone)
    before = {name: p.detach().clone() for name, p in classifier.clip.named_parameters()}
    step(classifier, pixel_values, labels, input_ids)
    moved = {n for n, p in classifier.clip.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {tuned.name for tuned in classifier.tuned}
    assert all(not_none(tuned.parameter.grad).any() for tuned in classifier.tuned)


def test_a_peer_begins_as_the_backbone_to_the_bit(
    make: Make, backbone: Backbone, pixel_values: Tensor, input_ids: Tensor
) -> None:
    zero_shot = FewShotClassifier(backbone, parse("none"))
    expected = features(zero_shot, pixel_values, input_ids)
    for one, other in zip(features(make(backbone), pixel_values, input_ids), expected, strict=True):
        assert torch.equal(one, other)


def test_at_strength_0_a_peer_is_the_backbone_to_the_bit_whatever_it_learned(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    zero_shot = features(FewShotClassifier(backbone, parse("none")), pixel_values, input_ids)
    classifier = make(backbone)
    step(classifier, pixel_values, labels, input_ids)
    trained = features(classifier, pixel_values, input_ids)
    with apply_strength(classifier.tuned, 0.0):
        untouched = features(classifier, pixel_values, input_ids)
    for one, other in zip(untouched, zero_shot, strict=True):
        assert torch.equal(one, other)
    images, texts = (
        not torch.allclose(learned, other)
        for learned, other in zip(trained, zero_shot, strict=True)
    )
    assert images
    assert texts == (make is not ProjectionClassifier), "whose texts stay zero-shot"
    for one, other in zip(features(classifier, pixel_values, input_ids), trained, strict=True):
        assert torch.equal(one, other), "trained again after the block"


def test_the_backbone_stays_as_it_was(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    names = [name for name, _ in backbone.clip.named_modules()]
    step(make(backbone), pixel_values, labels, input_ids)
    assert fingerprint(backbone.clip) == backbone.fingerprint
    assert not any(p.requires_grad or p.grad is not None for p in backbone.clip.parameters())
    assert [name for name, _ in backbone.clip.named_modules()] == names
