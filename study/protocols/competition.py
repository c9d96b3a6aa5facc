"""Generalized zero-shot learning: the scores where trained and other names compete.

A model gives too many images of other classes the names that it was trained on. A number γ that is
subtracted from their logits corrects this (calibrated stacking). Every γ gives one pair of
accuracies, on images of the trained classes (seen) and of the others (unseen). Source: Chao et al.
2016, "An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object Recognition in
the Wild".

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
    gaps, seen, unseen = _curve(competitions)
    changed = np.searchsorted(gaps, 0.0, side="right")
    return float(seen[changed]), float(unseen[changed])


def ausuc(competitions: Competitions) -> float:
    """Return the area under the curve of seen against unseen accuracy over all γ, a fraction.

    Neighbouring points are joined by a straight line, also where several images change their names
    at the same γ.

    Args:
        competitions: one per fold, at least one.
    """
    _, seen, unseen = _curve(competitions)
    widths = seen[:-1] - seen[1:]
    heights = unseen[:-1] + unseen[1:]
    area = widths @ heights / 2
    return round(float(area), _DECIMALS)


def resample_scores(
    competition: Competition, seen: Floats, unseen: Floats
) -> tuple[Floats, Floats]:
    """Return the harmonic mean of the two accuracies, and AUSUC, on each resampled set of images.

    The weights of a class must add up to the number of its images.

    Args:
        competition: the competition whose images are resampled.
        seen: the weight of each seen image in each set, (sets, seen images).
        unseen: the weight of each unseen image in each set, (sets, unseen images).

    Returns:
        The harmonic means and the areas, (sets,) each.
    """
    seen_gap, unseen_gap = competition.seen.gap, competition.unseen.gap
    seen_shares = seen * _shares(competition.seen)
    unseen_shares = unseen * _shares(competition.unseen)
    seen_accuracy = seen_shares[:, seen_gap > 0].sum(axis=1)
    unseen_accuracy = unseen_shares[:, unseen_gap <= 0].sum(axis=1)
    total = seen_accuracy + unseen_accuracy
    product = 2 * seen_accuracy * unseen_accuracy
    means = np.divide(product, total, out=np.zeros_like(total), where=total > 0)
    # The area below each seen image is the unseen accuracy when γ reaches its gap.
    order = np.argsort(unseen_gap)
    sorted_gap = unseen_gap[order]
    accuracy_by_count = np.pad(np.cumsum(unseen_shares[:, order], axis=1), [(0, 0), (1, 0)])
    before = accuracy_by_count[:, np.searchsorted(sorted_gap, seen_gap, side="left")]
    after = accuracy_by_count[:, np.searchsorted(sorted_gap, seen_gap, side="right")]
    areas = (seen_shares * (before + after)).sum(axis=1) / 2
    return means, areas


def _shares(images: Competitors) -> Floats:
    """Return what each image adds to its accuracy once it gets a name of its own kind."""
    _, class_of_image, sizes = np.unique(images.labels, return_inverse=True, return_counts=True)
    # A model that computes no number has a gap of NaN; such an image never gets its right name.
    is_right = images.right & np.isfinite(images.gap)
    return is_right / (len(sizes) * sizes[class_of_image])


def _curve(competitions: Competitions) -> tuple[Floats, Floats, Floats]:
    """Return the γ at which accuracies change, and the accuracies before, between and after them.

    Returns:
        The gaps of the images that can get their right name, (gaps,), in rising order, and the
        accuracy on seen and on unseen images, (gaps + 1,) each, by the number of gaps that γ has
        reached.
    """
    seen_gaps, seen_shares = _concatenate_right([fold.seen for fold in competitions])
    unseen_gaps, unseen_shares = _concatenate_right([fold.unseen for fold in competitions])
    gaps, index = np.unique(np.concatenate([seen_gaps, unseen_gaps]), return_inverse=True)
    count = len(seen_gaps)
    folds = len(competitions)
    lost = np.bincount(index[:count], seen_shares, minlength=len(gaps)) / folds
    won = np.bincount(index[count:], unseen_shares, minlength=len(gaps)) / folds
    seen = np.append(np.cumsum(lost[::-1])[::-1], 0.0)
    unseen = np.append(0.0, np.cumsum(won))
    return gaps, np.round(seen, _DECIMALS), np.round(unseen, _DECIMALS)


def _concatenate_right(folds: Sequence[Competitors]) -> tuple[Floats, Floats]:
    """Return the gaps of the images that can get their right name, and their shares of accuracy."""
    gaps = np.concatenate([images.gap for images in folds]).astype(np.float64)
    shares = np.concatenate([_shares(images) for images in folds])
    return gaps[shares > 0], shares[shares > 0]
