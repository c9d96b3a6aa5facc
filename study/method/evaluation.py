"""Predictions and their accuracy."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from study.method.model import Classifier, FewShotClassifier

# Prompts of thousands of classes times dozens of templates do not fit a GPU's memory at once.
PROMPTS_AT_ONCE = 1024


@torch.no_grad()
def predict(
    classifier: Classifier[Any], batches: Iterable[Tensor], text_features: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the class whose text features are nearest to each image, and its probability.

    Args:
        classifier: the model.
        batches: (batch, 3, size, size) float32, normalised; or what the classifier encodes instead.
        text_features: (classes, dim) float32, encoded once for the whole evaluation.

    Returns:
        (images,) int64, rows of ``text_features``, and (images,) float32; both on the CPU.
    """
    rows, probabilities = [torch.empty(0, dtype=torch.int64)], [torch.empty(0)]
    for batch in batches:
        logits = classifier.logits(classifier.encode_image(batch), text_features)
        rows.append(logits.argmax(dim=-1).cpu())
        probabilities.append(logits.softmax(dim=-1).amax(dim=-1).cpu())
    return torch.cat(rows), torch.cat(probabilities)


@torch.no_grad()
def encode_prompts(classifier: FewShotClassifier, input_ids: Tensor, templates: int = 1) -> Tensor:
    """Return the text features of each class, averaged over its templates.

    Features are averaged at unit length and then normalised again.

    Args:
        classifier: the model.
        input_ids: (classes · templates, length) int64; the prompts of one class are adjacent rows.
        templates: the number of prompts of each class.

    Returns:
        (classes, dim) float32, unit length.
    """
    rows = input_ids.split(PROMPTS_AT_ONCE)
    features = torch.cat([classifier.encode_text(ids) for ids in rows])
    if templates == 1:
        return features
    mean = features.unflatten(0, (-1, templates)).mean(dim=1)
    return torch.nn.functional.normalize(mean, dim=-1)


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Return the fraction of correct predictions; both are (images,) int64. NaN without images."""
    return (predictions == labels).double().mean().item()
