"""One temperature for all logits, so that a probability is the share of images that are right.

A classifier divides its logits by the temperature, which changes no answer. Source: Guo et al.
2017, "On Calibration of Modern Neural Networks".
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

HIGHEST = 20.0
"""The highest temperature; the lowest is one over it."""
HALVINGS = 50


class Labelled(NamedTuple):
    """The logits of some images among the same classes."""

    logits: Tensor
    """(images, classes) float32."""
    labels: Tensor
    """The column of the true class of each image, (images,) int64."""


def fit_temperature(groups: Sequence[Labelled]) -> float:
    """Return the temperature at which the true classes of all images are most likely.

    The mean negative log-likelihood is convex in 1/T, so its derivative has one zero, around which
    an interval is halved.
    """
    low = 1 / HIGHEST
    high = HIGHEST
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if _slope(groups, middle) > 0:
            high = middle
        else:
            low = middle
    return 1 / math.sqrt(low * high)


def _slope(groups: Iterable[Labelled], scale: float) -> float:
    """Return the derivative of the negative log-likelihood by the scale, 1/T, of all logits."""
    total = 0.0
    for logits, labels in groups:
        expected = ((scale * logits).softmax(dim=-1) * logits).sum(dim=-1)
        true = logits.gather(1, labels[:, None]).squeeze(1)
        total += (expected - true).double().sum().item()
    return total


def negative_log_likelihood(groups: Iterable[Labelled], temperature: float = 1.0) -> float:
    """Return the mean over all images, in nats; NaN without images."""
    losses = [torch.empty(0)]
    for logits, labels in groups:
        losses.append(F.cross_entropy(logits / temperature, labels, reduction="none"))
    return torch.cat(losses).double().mean().item()
