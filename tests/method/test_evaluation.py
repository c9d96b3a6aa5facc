from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method import model
from study.method.model import (
    FewShotClassifier,
    class_accuracies,
    classify,
    encode_prompts,
)
from study.method.subsets import parse


@pytest.fixture
def classifier(backbone: Backbone) -> FewShotClassifier:
    return FewShotClassifier(backbone, parse("clipfit"))


def test_predictions_are_the_nearest_classes_in_the_order_of_the_images(
    classifier: FewShotClassifier, pixel_values: Tensor
):
    # Each image's own feature is a class, in reverse: the nearest class is then known.
    features = classifier.encode_image(pixel_values).flip(0).detach()
    batches = map(classifier.encode_image, pixel_values.split([4, 2]))
    labels = torch.tensor([5, 0, 3, 3, 1, 2])
    predictions, probabilities = classify(classifier, batches, features, labels)
    assert predictions.tolist() == [5, 4, 3, 2, 1, 0]
    assert predictions.dtype == torch.int64
    expected = classifier.logits(features, features).softmax(dim=1).flip(0)
    torch.testing.assert_close(probabilities[0], expected.amax(dim=1))
    torch.testing.assert_close(probabilities[1], expected[torch.arange(6), labels])


def test_no_batches_give_no_predictions(classifier: FewShotClassifier):
    rows, probabilities = classify(classifier, [], torch.zeros(3, 24), torch.zeros(0).long())
    assert (rows.shape, probabilities.shape) == ((0,), (2, 0))
    assert rows.dtype == torch.int64


def test_templates_of_a_class_are_averaged_at_unit_length_however_many_prompts_pass_at_once(
    classifier: FewShotClassifier, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    ids = backbone.tokenize(["a cat", "photo of a cat", "a dog", "photo of a dog"])
    sums = classifier.encode_text(ids).detach().unflatten(0, (2, 2)).sum(dim=1)
    expected = sums / sums.norm(dim=-1, keepdim=True)
    encode_text = Mock(wraps=classifier.encode_text)
    monkeypatch.setattr(classifier, "encode_text", encode_text)
    for at_once, sizes in ((4, [4]), (3, [3, 1])):
        encode_text.reset_mock()
        monkeypatch.setattr(model, "PROMPTS_AT_ONCE", at_once)
        features = encode_prompts(classifier, ids, templates=2)
        assert not features.requires_grad
        torch.testing.assert_close(features, expected)
        assert [len(call.args[0]) for call in encode_text.call_args_list] == sizes


def test_the_accuracy_of_a_class_is_that_of_its_images():
    labels = torch.tensor([5, 5, 5, 5, 2])
    assert class_accuracies(torch.tensor([5, 5, 5, 2, 5]), labels) == {2: 0, 5: 0.75}
    # A class that is only predicted has no images, and so no accuracy.
    assert class_accuracies(torch.tensor([5, 5, 9, 9, 2]), labels) == {2: 1, 5: 0.5}
