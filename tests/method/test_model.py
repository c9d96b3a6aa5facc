from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone, fingerprint
from study.errors import SubsetError
from study.method.model import FewShotClassifier
from study.method.precision import cast_matrices
from study.method.subsets import parse
from study.method.training import Objective, make_optimizer, training_step

MakeBackbone = Callable[..., Backbone]


def train(classifier: FewShotClassifier, pixels: Tensor, labels: Tensor, ids: Tensor) -> None:
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.1, "ln": 0.1})
    objective = Objective(ids, classifier.encode_text(ids).detach(), 1.0)
    for _ in range(3):
        training_step(classifier, optimizer, pixels, labels, objective)


def test_training_changes_the_tuned_tensors_alone_and_never_the_backbone(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    before = {name: p.clone() for name, p in backbone.clip.named_parameters()}
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    train(classifier, pixel_values, labels, input_ids)
    tuned = {t.name for t in classifier.tuned}
    for name, parameter in classifier.clip.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in tuned), name
    for name, parameter in backbone.clip.named_parameters():
        assert torch.equal(parameter, before[name]), name
        assert not parameter.requires_grad
        assert parameter.grad is None
    assert fingerprint(backbone.clip) == backbone.fingerprint


def test_classifiers_share_frozen_storage_and_own_what_they_tune(backbone: Backbone) -> None:
    first = FewShotClassifier(backbone, parse("clipfit"))
    second = FewShotClassifier(backbone, parse("text.bias"))
    for name, parameter in backbone.clip.named_parameters():
        for classifier in (first, second):
            shared = classifier.clip.get_parameter(name).data_ptr() == parameter.data_ptr()
            assert shared == (name not in {t.name for t in classifier.tuned}), name


def test_a_second_classifier_leaves_the_first_trainable(backbone: Backbone) -> None:
    first = FewShotClassifier(backbone, parse("clipfit"))
    FewShotClassifier(backbone, parse("none"))
    trainable = {name for name, p in first.clip.named_parameters() if p.requires_grad}
    assert trainable == {t.name for t in first.tuned}


def test_a_subset_that_does_not_fit_leaves_the_backbone_as_it_was(backbone: Backbone) -> None:
    with pytest.raises(SubsetError, match="selects no layer"):
        FewShotClassifier(backbone, parse("clipfit + text.bias[5]"))
    assert not any(p.requires_grad for p in backbone.clip.parameters())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("legacy", [False, True])
def test_cutting_after_end_of_text_gives_the_features_of_77_tokens(
    make_backbone: MakeBackbone, dtype: torch.dtype, tolerance: float, legacy: bool
) -> None:
    backbone = make_backbone(eos_token_id=2) if legacy else make_backbone()
    classifier = FewShotClassifier(backbone, parse("clipfit")).to(dtype)
    prompts = ["a photo of a cat", "a red dog", "bird"]
    whole = torch.tensor(
        backbone.tokenizer(prompts, padding="max_length", max_length=77)["input_ids"]
    )
    cut = backbone.tokenize(prompts)
    assert (whole.shape, cut.shape) == ((3, 77), (3, 7))
    with torch.no_grad():
        cut_features, whole_features = classifier.encode_text(cut), classifier.encode_text(whole)
    assert cut_features.dtype == dtype
    torch.testing.assert_close(cut_features, whole_features, atol=tolerance, rtol=0)


def test_features_are_of_unit_length_and_logits_their_scaled_cosines(
    backbone: Backbone, pixel_values: Tensor, input_ids: Tensor
) -> None:
    classifier = FewShotClassifier(backbone, parse("none"))
    with torch.no_grad():
        text, image = classifier.encode_text(input_ids), classifier.encode_image(pixel_values)
        reference = backbone.clip(input_ids=input_ids, pixel_values=pixel_values)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(image.norm(dim=-1), torch.ones(6))
    torch.testing.assert_close(classifier.logits(image, text), reference.logits_per_image)


def test_reduced_precision_keeps_float32_masters_and_every_term_of_the_loss(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    exact = FewShotClassifier(backbone, parse("clipfit"))
    zero_shot_text = exact.encode_text(input_ids).detach()
    for held in (False, True):
        if held:
            cast_matrices(backbone.clip, "bfloat16")
        classifier = FewShotClassifier(backbone, parse("clipfit"), precision="bfloat16")
        text = classifier.encode_text(input_ids)
        assert text.dtype == torch.float32
        assert 0 < (text - zero_shot_text).abs().max() < 0.02
        train(classifier, pixel_values, labels, input_ids)
        optimizer = make_optimizer(classifier.tuned, {"bias": 0.1, "ln": 0.1})
        objective = Objective(input_ids, zero_shot_text, 10.0)
        losses = training_step(classifier, optimizer, pixel_values, labels, objective)
        assert losses.distillation > 1e-4
        torch.testing.assert_close(
            losses.loss, losses.cross_entropy + 10 * losses.distillation, rtol=1e-6, atol=0
        )
        for tuned in classifier.tuned:
            assert tuned.parameter.dtype == torch.float32
            assert tuned.parameter.grad is not None
            assert tuned.parameter.grad.dtype == torch.float32
