"""Generalized zero-shot learning: the scores where trained and other names compete.

Source: Chao et al. 2016, "An Empirical Study and Analysis of Generalized Zero-Shot Learning for
Object Recognition in the Wild".

An accuracy is averaged over classes. It is averaged over the folds of a trial before anything is
computed from it, since a single fold is too noisy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_DECIMALS = 12
"""Accuracies are rounded, so that equal averages are equal numbers whatever the order of a sum."""

Floats = npt.NDArray[np.float64]
Gaps = npt.NDArray[np.floating]
Truths = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer]


class Competitors(NamedTuple):
    """The images of one kind: of trained classes, or of others."""

    gap: Gaps
    """The highest logit among the trained names less the highest among the others, (images,)."""
    right: Truths
    """Whether the best of the names of the image's own kind is the true one, (images,)."""
    labels: Labels
    """The class of each image, (images,)."""


class Competition(NamedTuple):
    """The images of one model, each of which may get a trained or another name."""

    seen: Competitors
    """The images of trained classes, at least one."""
    unseen: Competitors
    """The images of other classes, at least one."""


Competitions = Sequence[Competition]
"""The competitions of the models of all folds."""


def hmean(base: float, new: float) -> float:
    """Return the harmonic mean of two accuracies; 0 if both are 0."""
    total = base + new
    if total == 0:
        return 0.0
    return 2 * base * new / total


def accuracies(competitions: Competitions) -> tuple[float, float]:
    """Return the accuracies on seen and unseen images, averaged over classes and then folds.

    An image gets a trained name if its gap is greater than 0.

    Args:
        competitions: one per fold, at least one.
    """
    seen, unseen = [], []
    for fold in competitions:
        seen.append(_shares(fold.seen)[fold.seen.gap > 0].sum())
        unseen.append(_shares(fold.unseen)[fold.unseen.gap <= 0].sum())
    return round(float(np.mean(seen)), _DECIMALS), round(float(np.mean(unseen)), _DECIMALS)


def resample_hmean(competition: Competition, seen: Floats, unseen: Floats) -> Floats:
    """Return the harmonic mean of the two accuracies on each resampled set of images, (sets,).

    The weights of a class must add up to the number of its images.

    Args:
        competition: the competition whose images are resampled.
        seen: the weight of each seen image in each set, (sets, seen images).
        unseen: the weight of each unseen image in each set, (sets, unseen images).
    """
    seen_accuracy = (seen * _shares(competition.seen))[:, competition.seen.gap > 0].sum(axis=1)
    unseen_shares = unseen * _shares(competition.unseen)
    unseen_accuracy = unseen_shares[:, competition.unseen.gap <= 0].sum(axis=1)
    total = seen_accuracy + unseen_accuracy
    product = 2 * seen_accuracy * unseen_accuracy
    means: Floats = np.divide(product, total, out=np.zeros_like(total), where=total > 0)
    return means


def _shares(images: Competitors) -> Floats:
    """Return what each image adds to its accuracy once it gets a name of its own kind."""
    _, class_of_image, sizes = np.unique(images.labels, return_inverse=True, return_counts=True)
    # A model that computes no number has a gap of NaN; such an image never gets its right name.
    is_right = images.right & np.isfinite(images.gap)
    return is_right / (len(sizes) * sizes[class_of_image])
