"""Generalized zero-shot learning: the scores where trained and other names compete.

The names that a model was trained on draw images of other classes to themselves. A number γ that is
subtracted from their logits weighs against it (calibrated stacking), and every γ gives one pair of
accuracies, on images of the trained classes (seen) and of the others (unseen). Source: Chao et al.
2016, "An Empirical Study and Analysis of Generalized Zero-Shot Learning for Object Recognition in
the Wild".

An accuracy is averaged over classes, and over the folds of a trial before anything is computed from
it, since a single fold is too noisy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_DECIMALS = 12
"""Accuracies are rounded, so that equal averages are equal numbers whatever the order of a sum."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Competition:
    """One model's images, each of which may be given a trained or another name.

    The gap of an image is its highest logit among the trained names less the highest among the
    others, in units of logits. There are images of both kinds.
    """

    seen_gap: npt.NDArray[np.floating]
    """The gap of each image of a trained class, (seen images,)."""
    seen_right: npt.NDArray[np.bool_]
    """Whether the best of the trained names is the true one, (seen images,)."""
    seen_labels: npt.NDArray[np.integer]
    """The class of each of these images, (seen images,)."""
    unseen_gap: npt.NDArray[np.floating]
    """The gap of each image of another class, (unseen images,)."""
    unseen_right: npt.NDArray[np.bool_]
    """Whether the best of the other names is the true one, (unseen images,)."""
    unseen_labels: npt.NDArray[np.integer]
    """The class of each of these images, (unseen images,)."""


def hmean(base: float, new: float) -> float:
    """Return the harmonic mean of two accuracies; 0 if both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


def accuracies(
    competitions: Sequence[Competition], calibration: float = 0.0
) -> tuple[float, float]:
    """Return the accuracies on seen and unseen images, averaged over classes and then folds.

    An image is given a trained name if its gap is greater than γ. Where they are equal, it is given
    another name, so that the least γ that turns an image is its gap.

    Args:
        competitions: one per fold, at least one.
        calibration: γ, in units of logits.
    """
    gaps, seen, unseen = _curve(competitions)
    passed = np.searchsorted(gaps, calibration, side="right")
    return float(seen[passed]), float(unseen[passed])


def ausuc(competitions: Sequence[Competition]) -> float:
    """Return the area under the curve of seen against unseen accuracy over all γ, a fraction.

    Between neighbouring points the curve is a straight line, as where images with one gap turn
    together.

    Args:
        competitions: one per fold, at least one.
    """
    _, seen, unseen = _curve(competitions)
    area = (seen[:-1] - seen[1:]) @ (unseen[:-1] + unseen[1:]) / 2
    return round(float(area), _DECIMALS)


def best_calibration(competitions: Sequence[Competition]) -> tuple[float, float]:
    """Return the γ with the highest harmonic mean of the two accuracies, and this mean.

    Tried are 0 and the midpoints between neighbouring gaps, which stand for every γ. Of equal
    means, the γ nearest to 0 wins.

    Args:
        competitions: one per fold, at least one.
    """
    gaps, seen, unseen = _curve(competitions)
    middle = gaps[:-1] + np.diff(gaps) / 2
    # Between two numbers without a third, the lower one parts them as a midpoint does.
    tried = np.append(np.where(middle < gaps[1:], middle, gaps[:-1]), 0.0)
    passed = np.append(np.arange(1, len(gaps)), np.searchsorted(gaps, 0.0, side="right"))
    pairs = zip(seen[passed].tolist(), unseen[passed].tolist(), strict=True)
    means = np.array([round(hmean(*pair), _DECIMALS) for pair in pairs])
    best = np.lexsort((tried, abs(tried), -means))[0]
    return float(tried[best]), float(means[best])


def drawn_again(one: Competition, seen: Floats, unseen: Floats) -> tuple[Floats, Floats]:
    """Return the harmonic mean of the two accuracies, and AUSUC, on images that are drawn again.

    Each class must be drawn as often as it has images.

    Args:
        one: the competition.
        seen: how often each set has each seen image, (sets, seen images).
        unseen: how often each set has each unseen image, (sets, unseen images).

    Returns:
        Both of each set, (sets,) each.
    """
    own = seen * _shares(one.seen_gap, one.seen_right, one.seen_labels)
    other = unseen * _shares(one.unseen_gap, one.unseen_right, one.unseen_labels)
    pair = own[:, one.seen_gap > 0].sum(axis=1), other[:, one.unseen_gap <= 0].sum(axis=1)
    total = pair[0] + pair[1]
    means = np.divide(2 * pair[0] * pair[1], total, out=np.zeros_like(total), where=total > 0)
    # The area below each seen image is what the unseen ones have reached when γ reaches its gap.
    order = np.argsort(one.unseen_gap)
    reached = np.pad(np.cumsum(other[:, order], axis=1), [(0, 0), (1, 0)])
    before, after = (
        reached[:, np.searchsorted(one.unseen_gap[order], one.seen_gap, side=side)]
        for side in ("left", "right")
    )
    return means, (own * (before + after)).sum(axis=1) / 2


def _shares(gap: npt.NDArray, right: npt.NDArray, labels: npt.NDArray) -> Floats:
    """Return what each image adds to its accuracy once it is given a name of its own kind."""
    _, of_image, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return (right & np.isfinite(gap)) / (len(sizes) * sizes[of_image])


def _curve(competitions: Sequence[Competition]) -> tuple[Floats, Floats, Floats]:
    """Return the γ at which accuracies change, and the accuracies before, between and after them.

    Returns:
        The gaps of the images with a right name to be given, (gaps,), which rise, and the accuracy
        on seen and on unseen images, (gaps + 1,) each: after γ has reached so many of the gaps.
    """
    folds = len(competitions)
    own, lost = _turning([(c.seen_gap, c.seen_right, c.seen_labels) for c in competitions])
    other, won = _turning([(c.unseen_gap, c.unseen_right, c.unseen_labels) for c in competitions])
    gaps, place = np.unique(np.concatenate([own, other]), return_inverse=True)
    lost = np.bincount(place[: len(own)], lost, minlength=len(gaps)) / folds
    won = np.bincount(place[len(own) :], won, minlength=len(gaps)) / folds
    seen = np.append(np.cumsum(lost[::-1])[::-1], 0.0)
    unseen = np.append(0.0, np.cumsum(won))
    return gaps, np.round(seen, _DECIMALS), np.round(unseen, _DECIMALS)


def _turning(
    images: Sequence[tuple[npt.NDArray, npt.NDArray, npt.NDArray]],
) -> tuple[Floats, Floats]:
    """Return the gaps of the images with a right name, and what each adds to the accuracy.

    Args:
        images: gaps, whether a right name is to be given, and labels, one triple per fold.
    """
    gaps, shares = [], []
    for gap, right, labels in images:
        # A gap that is not a number is of a model that computes none; its image is right nowhere.
        kept = right & np.isfinite(gap)
        gaps.append(gap[kept].astype(np.float64))
        shares.append(_shares(gap, right, labels)[kept])
    return np.concatenate(gaps), np.concatenate(shares)
