"""Whether an image is of none of the classes, by the best of its logits.

The p-value of an image is the share of images of known classes that are no more like their classes,
where it counts among them. Under conformal prediction (Vovk et al. 2005, "Algorithmic Learning in a
Random World") at most p of further images of known classes have a p-value of p or below. That holds
for logits of one model. Here models of the folds stand for it, so it holds approximately.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from study.errors import DataError

PERCENT = 5.0
"""The share of images of known classes that are called unknown in a check, in percent."""


class UnknownCheck(NamedTuple):
    """What models that were trained without some classes say of images of these."""

    found: float | None
    """The share of such images that are called unknown at `PERCENT`, a fraction; None if there are
    too few images of known classes."""
    auroc: float
    """The probability that an image of a known class is more like its class than such an image."""


def unknown_below(known: ArrayLike, percent: float) -> float:
    """Return the logit below which the best of an image's logits means an unknown class.

    It is the ⌊p(n + 1)⌋-th smallest of n images of known classes.

    Args:
        known: the best logits of images of known classes, (images,), rising.
        percent: 100 p, the share of images of known classes that may be called unknown.

    Raises:
        DataError: there are too few images for so small a percentage.
    """
    logits = np.asarray(known)
    images = len(logits)
    rank = percent * (images + 1) / 100
    if not 1 <= rank < images + 1:
        least = math.ceil(1000 / (images + 1)) / 10
        raise DataError(
            f"{percent:g} % of the {images} images of known classes is none, or all; allowed is "
            f"{least:g} or more, and below 100"
        )
    return float(logits[math.floor(rank) - 1])


def p_values(known: ArrayLike, foreign: ArrayLike) -> NDArray[np.float32]:
    """Return the p-value of each image of an unknown class, (foreign images,).

    Args:
        known: the best logits of images of known classes, by the same models.
        foreign: those of images of classes that the models were not trained on.
    """
    rising = np.sort(known)
    not_above = np.searchsorted(rising, foreign, side="right")
    return ((not_above + 1) / (len(rising) + 1)).astype(np.float32)


def found_share(p_values: ArrayLike, percent: float) -> float:
    """Return the share of foreign images that are called unknown at a percentage, a fraction."""
    return float(np.mean(np.asarray(p_values) <= percent / 100))


def check_unknown(known: ArrayLike, foreign: ArrayLike) -> UnknownCheck:
    """Return how well the images of `p_values` are told apart."""
    from scipy import stats  # takes a quarter of a second, which workers do without

    greater = stats.mannwhitneyu(known, foreign).statistic
    auroc = float(greater) / (np.size(known) * np.size(foreign))
    if np.size(known) + 1 < 100 / PERCENT:
        return UnknownCheck(None, auroc)
    return UnknownCheck(found_share(p_values(known, foreign), PERCENT), auroc)
