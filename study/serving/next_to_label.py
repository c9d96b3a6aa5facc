"""Which images to label next, by what several models make of them; numbers alone.

Of the images that a model predicts to be of a class, those that it is least sure of come first, and
of these, those that are unlike each other (k-centre greedy: Sener and Savarese 2018, "Active
learning for convolutional neural networks: a core-set approach", arXiv 1708.00489).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CANDIDATES = 4
"""How many of a class's least sure images stand for choice, for each one that is chosen."""
Floats = NDArray[np.floating]


def disagreement(answers: Floats) -> Floats:
    """Return how much models disagree on images, (images,) in bits: 0 if all say the same.

    It is the Jensen-Shannon divergence of their answers.

    Args:
        answers: the probabilities of each model, (models, images, classes).
    """
    of_mean = stats.entropy(answers.mean(axis=0), axis=-1, base=2)
    divergence = of_mean - stats.entropy(answers, axis=-1, base=2).mean(axis=0)
    return np.maximum(divergence, 0.0)


def choose_next(
    predicted: NDArray[np.str_], margin: Floats, divergence: Floats, features: Floats, count: int
) -> list[int]:
    """Return the images to label next, the first of each class before the second of any.

    Args:
        predicted: the predicted class of each image, (images,).
        margin: the highest probability of each image minus the second, (images,).
        divergence: see `disagreement`.
        features: the features of the images, (images, dim) of unit length.
        count: how many to choose; all if there are fewer.
    """
    unsure = stats.rankdata(divergence) - stats.rankdata(margin)
    chosen: list[int] = []
    turns: list[int] = []
    names, sizes = np.unique(predicted, return_counts=True)
    for name, quota in zip(names, quotas(sizes, count), strict=True):
        rows = np.flatnonzero(predicted == name)
        rows = rows[np.argsort(-unsure[rows], kind="stable")][: CANDIDATES * quota]
        chosen += rows[k_centres(features[rows], quota)].tolist()
        turns += range(quota)
    order = np.lexsort((-unsure[chosen], turns))
    return [chosen[position] for position in order]


def quotas(sizes: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return how many images to choose of each class, as equally as the sizes of classes allow.

    What does not go round is of the largest classes.
    """
    labels = np.repeat(np.arange(len(sizes)), sizes)
    turns = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.lexsort((-sizes[labels], turns))[:count]
    return np.bincount(labels[first], minlength=len(sizes))


def k_centres(features: Floats, count: int) -> list[int]:
    """Return the first row, and then always the one that is farthest from all before it.

    Of rows that are as far, the first is taken.
    """
    centres: list[int] = []
    distance = np.full(len(features), np.inf)
    for _ in range(count):
        row = int(np.argmax(distance))
        centres.append(row)
        distance = np.minimum(distance, 1 - features @ features[row])
        distance[centres] = -np.inf
    return centres
