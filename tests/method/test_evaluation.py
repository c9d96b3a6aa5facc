import math

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method import model
from study.method.model import FewShotClassifier, accuracy, class_accuracy, classify, encode_prompts
from study.method.subsets import parse


@pytest.fixture
def classifier(backbone: Backbone) -> FewShotClassifier:
    return FewShotClassifier(backbone, parse("clipfit"))


def test_predictions_are_the_nearest_classes_in_the_order_of_the_images(
    classifier: FewShotClassifier, pixel_values: Tensor
) -> None:
    # Each image's own feature is a class, in reverse: the nearest class is then known.
    with torch.no_grad():
        features = classifier.encode_image(pixel_values).flip(0)
    predictions, probabilities = classify(
        classifier, map(classifier.encode_image, pixel_values.split([4, 2])), features
    )
    assert predictions.tolist() == [5, 4, 3, 2, 1, 0]
    assert predictions.dtype == torch.int64
    with torch.no_grad():
        logits = classifier.logits(features, features)
    assert (logits.exp() / logits.exp().sum(dim=1, keepdim=True)).diag().flip(0).tolist() == (
        pytest.approx(probabilities.tolist())
    )


def test_no_batches_give_no_predictions(classifier: FewShotClassifier) -> None:
    rows, probabilities = classify(classifier, [], torch.zeros(3, 24))
    assert rows.shape == probabilities.shape == (0,)
    assert rows.dtype == torch.int64


def test_the_templates_of_a_class_are_averaged_at_unit_length(
    classifier: FewShotClassifier, backbone: Backbone
) -> None:
    ids = backbone.tokenize(["a cat", "photo of a cat", "a dog", "photo of a dog"])
    rows = classifier.encode_text(ids).detach()
    together = encode_prompts(classifier, ids, templates=2)
    assert not together.requires_grad
    for index in range(2):
        mean = rows[2 * index : 2 * index + 2].sum(dim=0)
        torch.testing.assert_close(together[index], mean / mean.norm())


def test_prompts_are_encoded_in_pieces_without_a_difference(
    classifier: FewShotClassifier, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = backbone.tokenize(["a cat", "photo of a cat", "a dog", "photo of a dog"])
    whole = encode_prompts(classifier, ids, templates=2)
    sizes: list[int] = []
    encode_text = classifier.encode_text

    def spy(ids: Tensor) -> Tensor:
        sizes.append(len(ids))
        return encode_text(ids)

    monkeypatch.setattr(model, "PROMPTS_AT_ONCE", 3)
    monkeypatch.setattr(classifier, "encode_text", spy)
    torch.testing.assert_close(encode_prompts(classifier, ids, templates=2), whole)
    assert sizes == [3, 1]


def test_accuracy_is_a_fraction() -> None:
    assert accuracy(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0])) == 2 / 3
    assert math.isnan(accuracy(torch.tensor([]), torch.tensor([])))


def test_an_accuracy_of_classes_counts_each_class_once() -> None:
    labels = torch.tensor([5, 5, 5, 5, 2])
    assert class_accuracy(torch.tensor([5, 5, 5, 2, 5]), labels) == 0.75 / 2
    assert class_accuracy(torch.tensor([5, 5, 5, 2, 2]), labels) == 1.75 / 2
    # A class that is only predicted has no images, and so no accuracy.
    assert class_accuracy(torch.tensor([5, 5, 9, 9, 2]), labels) == 1.5 / 2
    assert class_accuracy(labels, labels) == accuracy(labels, labels) == 1.0
    assert math.isnan(class_accuracy(torch.tensor([]), torch.tensor([])))
