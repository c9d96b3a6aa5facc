"""Accuracy, the harmonic mean of base and new, and what is taken for what."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from study.method.model import FewShotClassifier

# Thousands of classes times dozens of templates do not fit a GPU at once.
PROMPTS_AT_ONCE = 1024


@torch.no_grad()
def predict(
    classifier: FewShotClassifier, batches: Iterable[Tensor], text_features: Tensor
) -> Tensor:
    """Give the class that each image is nearest to.

    Args:
        classifier: the model.
        batches: (batch, 3, size, size) float32, normalised.
        text_features: (classes, dim), encoded once for the whole evaluation.

    Returns:
        (images,) int64 on the CPU: positions in ``text_features``.
    """
    chosen = [
        classifier.logits(classifier.encode_image(batch), text_features).argmax(dim=-1).cpu()
        for batch in batches
    ]
    return torch.cat(chosen) if chosen else torch.empty(0, dtype=torch.int64)


@torch.no_grad()
def encode_prompts(classifier: FewShotClassifier, input_ids: Tensor, templates: int = 1) -> Tensor:
    """Encode every class, averaging its templates: (classes · templates, length) to (classes, dim).

    The rows of one class stand together. Features are averaged at unit length and normalised again.
    """
    rows = input_ids.split(PROMPTS_AT_ONCE)
    features = torch.cat([classifier.encode_text(ids) for ids in rows])
    if templates == 1:
        return features
    mean = features.unflatten(0, (-1, templates)).mean(dim=1)
    return torch.nn.functional.normalize(mean, dim=-1)


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Give the fraction of right predictions, both (images,) int64; NaN without images."""
    return (predictions == labels).double().mean().item()


def hmean(base: float, new: float) -> float:
    """Give the harmonic mean of base and new accuracy; 0 when both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


def confusion(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count (true class, predicted class) pairs: (classes, classes) int64, sparse.

    Of the pairs of ten thousand classes, which would fill most of a gigabyte, few occur.
    """
    pairs = torch.stack([labels, predictions])
    ones = torch.ones_like(labels)
    return torch.sparse_coo_tensor(
        pairs, ones, (classes, classes), check_invariants=True
    ).coalesce()
