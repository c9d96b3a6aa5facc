"""A model as a classifier: what it shares, tunes and finds, and what it predicts."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method import model
from study.method.model import FewShotClassifier, classify, encode_prompts
from study.method.subsets import parse


def test_classifiers_share_frozen_storage_and_own_what_they_tune(backbone: Backbone):
    backbone.clip.requires_grad_(True)
    subset = parse("text.mlp.fc2.bias[1] + vision.ln_post.weight")
    names = {
        "text_model.encoder.layers.1.mlp.fc2.bias": "bias",
        "vision_model.post_layernorm.weight": "ln",
    }
    classifier = FewShotClassifier(backbone, subset)
    assert {tuned.name: tuned.kind for tuned in classifier.tuned} == names
    for tuned in classifier.tuned:
        assert tuned.parameter is classifier.clip.get_parameter(tuned.name)
    for name, parameter in backbone.clip.named_parameters():
        own = classifier.clip.get_parameter(name)
        assert own.requires_grad == (name in names)
        assert (own.data_ptr() == parameter.data_ptr()) == (name not in names)


def test_a_site_that_the_model_lacks_is_refused_with_the_nearest(backbone: Backbone):
    backbone.clip.vision_model.post_layernorm = nn.Identity()
    expected = (
        r"vision\.ln_post\.bias.*vision_model\.post_layernorm\.bias.*vision_model\.pre_layrnorm"
    )
    with pytest.raises(SubsetError, match=expected):
        FewShotClassifier(backbone, parse("clipfit"))


def test_predictions_are_the_nearest_classes(backbone: Backbone, pixel_values: Tensor):
    classifier = FewShotClassifier(backbone)
    # Each image's own feature is a class, in reverse: the nearest class is then known.
    features = classifier.encode_image(pixel_values).flip(0).detach()
    batches = map(classifier.encode_image, pixel_values.split([4, 2]))
    labels = torch.tensor([5, 0, 3, 3, 1, 2])
    predictions, probabilities = classify(classifier, batches, features, labels)
    assert predictions.tolist() == [5, 4, 3, 2, 1, 0]
    expected = classifier.logits(features, features).softmax(dim=1).flip(0)
    torch.testing.assert_close(probabilities[0], expected.amax(dim=1))
    torch.testing.assert_close(probabilities[1], expected[torch.arange(6), labels])
    rows, probabilities = classify(classifier, [], features, labels[:0])
    assert (rows.shape, rows.dtype, probabilities.shape) == ((0,), torch.int64, (2, 0))


def test_templates_of_a_class_are_averaged_at_unit_length(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    classifier = FewShotClassifier(backbone)
    ids = backbone.tokenize(["a cat", "photo of a cat", "a dog", "photo of a dog"])
    sums = classifier.encode_text(ids).detach().unflatten(0, (2, 2)).sum(dim=1)
    expected = sums / sums.norm(dim=-1, keepdim=True)
    encode_text = Mock(wraps=classifier.encode_text)
    monkeypatch.setattr(classifier, "encode_text", encode_text)
    monkeypatch.setattr(model, "PROMPTS_AT_ONCE", 3)
    features = encode_prompts(classifier, ids, templates=2)
    assert not features.requires_grad
    torch.testing.assert_close(features, expected)
    assert [len(call.args[0]) for call in encode_text.call_args_list] == [3, 1]
