"""The scores of trials on resampled test images: a bootstrap of what they predicted.

With few images, a plain bootstrap looks too sure: where all are right, every set that is drawn from
them is right as well. So pseudo-images are added to each part before it is drawn: two right and two
wrong ones for a score that stands alone, and for a difference one that either side alone gets
right. Those of a difference are drawn for each seed by itself, since seeds seldom agree on the
images that one side alone gets right.

A mean over classes is as sure as its smallest classes let it be: of 300 images and 5, it varies as
a share of 20 images does. So it gets pseudo-images and degrees of freedom as that many.

Images of one group, such as a patient, are alike: whole groups are drawn then, and count as one
image where images are counted.

Sources: Agresti and Coull 1998, “Approximate Is Better than ‘Exact’ for Interval Estimation of
Binomial Proportions”; Bonett and Price 2012, “Adjusted Wald Confidence Interval for a Difference of
Binomial Proportions Based on Paired Data”.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator

from study.protocols import Protocol
from study.protocols.competition import Competition, Competitors, resample_scores
from study.trial.predictions import Outcomes

Array = np.ndarray
DRAWS = 2_000
"""How many sets of images are drawn; the square root of a variance is then known to about 2 %."""
SEED = 0
"""The seed of the draws."""
LARGEST_BATCH = 2**23
"""The largest number of counts that are drawn at a time, which take 8 bytes each."""
FEWEST_OF_CLASS = 2
"""The fewest images of a stratum whose variance can be estimated."""
PSEUDO_OF_SCORE, PSEUDO_OF_DIFFERENCE = 4, 2
"""The number of pseudo-images that are added to each part."""

Trial = tuple[str, int]
"""A trial's label and seed."""


class Rescored(NamedTuple):
    """One score of a trial on sets of resampled test images, ``(draws,)`` each."""

    kinds: Sequence[Array]
    """With the pseudo-images of a score that stands alone, then with those of a difference: of the
    scores that others are subtracted from, and of the scores that are subtracted."""
    df: float
    """The degrees of freedom of their variance; those of the part with the fewest."""

    @property
    def alone(self) -> Array:
        """The scores of a trial that stands alone."""
        return self.kinds[0]

    def side(self, weight: float) -> Array:
        """Return the scores to add to others with a weight, whose sign says of which side."""
        if weight > 0:
            return self.kinds[1]
        return self.kinds[2]


RescoredTrials = dict[Trial, dict[str, Rescored]]
"""The scores of trials by their names."""


class _Size(NamedTuple):
    """How many images an accuracy is as sure as."""

    units: float
    """The number of images in a simple sample on which a share varies as much."""
    df: float
    """The degrees of freedom of the variance (Satterthwaite)."""


class _Part(NamedTuple):
    """The accuracy of trials on one part of the images."""

    exact: Array
    """The accuracy on the tested images, ``(trials,)``."""
    drawn: Array
    """The accuracy on each resampled set, ``(draws, trials)``."""
    size: _Size


def _size_of_mean(strata: Sequence[int]) -> _Size:
    """Return how many images the mean of the accuracies of strata is as sure as.

    Each stratum, such as a class, counts alike. The accuracy of n images has the variance v/n, with
    n − 1 degrees of freedom; v is taken to be the same in all strata.

    Args:
        strata: the number of images of each stratum, at least two.
    """
    images = np.array(strata, dtype=float)
    variance = (1 / images).sum()
    df = variance**2 / (1 / (images**2 * (images - 1))).sum()
    return _Size(round(float(len(images) ** 2 / variance), 9), round(float(df), 9))


def _add_pseudo_images(
    accuracy: Array, units: float, trials: Iterable[Trial], rng: Generator
) -> Array:
    """Return accuracies on sets of images and pseudo-images.

    A set is drawn from the images and the pseudo-images together, so that each of its images is a
    pseudo-image with the probability of their share.

    Args:
        accuracy: the accuracies on sets of images, ``(draws, trials)``.
        units: how many images the accuracy is as sure as.
        trials: the trials; those of one seed share the pseudo-images of a difference.
        rng: the generator that draws.

    Returns:
        The kinds of `Rescored` for each trial, ``(3, draws, trials)``.
    """
    _, by_seed = np.unique([seed for _, seed in trials], return_inverse=True)
    kinds = []
    for pseudo_images, columns in (
        (PSEUDO_OF_SCORE, np.zeros_like(by_seed)),
        (PSEUDO_OF_DIFFERENCE, by_seed),
    ):
        total = round(units) + pseudo_images
        shape = len(accuracy), columns.max() + 1
        drawn = rng.binomial(total, pseudo_images / total, size=shape)
        right = rng.binomial(drawn, 0.5)
        # What one side of a difference gets right, the other side gets wrong.
        for hits in (right, drawn - right):
            kinds.append(((total - drawn[:, columns]) * accuracy + hits[:, columns]) / total)
    alone, _, minuend, subtrahend = kinds
    return np.stack([alone, minuend, subtrahend])


def rescore(
    outcomes: Mapping[Trial, Outcomes],
    protocol: Protocol,
    *,
    balanced: bool = False,
) -> RescoredTrials:
    """Return the protocol's score and its parts on resampled images.

    Args:
        outcomes: the outcomes of trials that were tested on the same images.
        protocol: the protocol, which makes a score of accuracies.
        balanced: whether accuracies are averaged over classes, even if the protocol's are not.

    Returns:
        The scores by trial and name. Empty if a stratum has a single image, where a stratum is a
        class or, if accuracies are not averaged over classes, a whole part.
    """
    rng = np.random.default_rng(SEED)
    class_averaged = balanced or protocol.class_averaged
    parts = _resample_parts([*outcomes.values()], class_averaged, rng)
    if not parts:
        return {}
    accuracies = {
        name: _add_pseudo_images(part.drawn, part.size.units, outcomes, rng)
        for name, part in parts.items()
    }
    drawn_scores = _score_accuracies(protocol, accuracies)
    exact_scores = _score_accuracies(protocol, {name: part.exact for name, part in parts.items()})
    least_df = min(part.size.df for part in parts.values())
    rescored: RescoredTrials = {trial: {} for trial in outcomes}
    for name, drawn in drawn_scores.items():
        df = parts[name].size.df if name in parts else least_df
        _add_scores(rescored, name, drawn, exact_scores[name], df)
    return rescored


def _add_scores(rescored: RescoredTrials, name: str, drawn: Array, exact: Array, df: float) -> None:
    """Add a score of each trial on sets of images.

    Args:
        rescored: the scores of the trials so far.
        name: the name of the score.
        drawn: the score on sets with pseudo-images, ``(3, draws, trials)``.
        exact: the score on the images themselves, ``(trials,)``. It becomes the mean of the sets,
            since pseudo-images are there for the variance alone.
        df: see `Rescored.df`.
    """
    centered = drawn - drawn.mean(axis=1, keepdims=True) + exact
    for column, scores in enumerate(rescored.values()):
        scores[name] = Rescored(centered[:, :, column], df)


def _score_accuracies(protocol: Protocol, parts: Mapping[str, Array]) -> dict[str, Array]:
    """Return the protocol's scores of accuracies by name, in arrays of the same shape."""
    arrays: Mapping[str, Any] = parts
    try:
        return {name: np.asarray(score) for name, score in protocol.score(arrays).items()}
    except (TypeError, ValueError):  # a score that compares, such as hmean, takes single numbers
        pass
    scores = defaultdict(list)
    for values in zip(*(part.flat for part in parts.values()), strict=True):
        for name, score in protocol.score(dict(zip(parts, values, strict=True))).items():
            scores[name].append(score)
    shape = next(iter(parts.values())).shape
    return {name: np.reshape(column, shape) for name, column in scores.items()}


def _resample_parts(
    outcomes: Sequence[Outcomes], class_averaged: bool, rng: Generator
) -> dict[str, _Part]:
    """Return the accuracy of each trial on each part of the images.

    The accuracy is the mean over a part's classes if `class_averaged`, else over its images. Each
    class, or else each part, is a stratum that is drawn by itself. Empty if one has a single image
    or group.
    """
    rows: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for part, label in outcomes[0].right:
        of_trials = np.array([outcome.right[part, label] for outcome in outcomes], dtype=float).T
        numbers = range(len(of_trials))
        names: Sequence[object] = outcomes[0].groups.get((part, label)) or [
            (label, number) for number in numbers
        ]
        rows[part].append(pd.DataFrame(of_trials).assign(images=1.0, group=[*names]))
    if not class_averaged:
        rows = {part: [pd.concat(classes)] for part, classes in rows.items()}
    parts = {}
    for part, classes in rows.items():
        strata = [images.groupby("group", sort=False).sum().to_numpy() for images in classes]
        sizes = [len(stratum) for stratum in strata]
        if min(sizes) < FEWEST_OF_CLASS:
            return {}
        drawn = np.mean([_resample_means(stratum, rng) for stratum in strata], axis=0)
        exact = np.mean([_mean_of_images(stratum.sum(axis=0)) for stratum in strata], axis=0)
        parts[part] = _Part(exact, drawn, _size_of_mean(sizes))
    return parts


def _mean_of_images(sums: Array) -> Array:
    """Return means over images: columns of sums, divided by the last one, the number of images."""
    means: Array = sums[..., :-1] / sums[..., -1:]
    return means


def _resample_means(sums: Array, rng: Generator) -> Array:
    """Return the means over images of resampled rows, ``(draws, columns)``.

    The same rows are drawn for all columns.

    Args:
        sums: ``(units, columns + 1)``, a row for each image or group: a column for each trial, of
            how many images it has right, and one of how many there are.
        rng: the generator that draws.
    """
    units = len(sums)
    batch = max(1, LARGEST_BATCH // units)
    rows = sums.astype(np.float32)  # which holds sums of up to 16 million exactly
    drawn = []
    for start in range(0, DRAWS, batch):
        counts = _draw_counts(units, min(batch, DRAWS - start), rng)
        drawn.append(counts.astype(np.float32) @ rows)
    means = _mean_of_images(np.concatenate(drawn).astype(np.float64))
    return _widen(means, _mean_of_images(sums.sum(axis=0)), units)


def _draw_counts(images: int, sets: int, rng: Generator) -> Array:
    """Return how often each set has each image, (sets, images)."""
    rows = rng.integers(images, size=(sets, images), dtype=np.int32)
    # Each set counts in bins of its own.
    rows += images * np.arange(sets, dtype=np.int32)[:, None]
    counts = np.bincount(rows.ravel(), minlength=sets * images)
    return counts.reshape(sets, images)


def _widen(drawn: Array, mean: Array | float, images: int) -> Array:
    """Return means over sets of images, or counts of them, with the variance of a sample.

    A bootstrap of n images varies by (n − 1)/n of what a sample does.
    """
    return mean + (drawn - mean) * math.sqrt(images / (images - 1))


def make_competition(outcomes: Outcomes, trained: str) -> Competition:
    """Return the images of a trial where trained and other names compete.

    Args:
        outcomes: the outcomes of the trial, with its competing predictions.
        trained: the part of the images of trained classes.
    """
    rows: dict[bool, list[Any]] = defaultdict(list)
    for number, ((part, _), images) in enumerate(outcomes.competing.items()):
        rows[part == trained] += [(gap, right, number) for right, gap in images]
    kinds = [Competitors(*map(np.array, zip(*rows[kind], strict=True))) for kind in (True, False)]
    return Competition(*kinds)


def rescore_competitions(outcomes: Mapping[Trial, Outcomes], protocol: Protocol) -> RescoredTrials:
    """Return H and AUSUC where all names compete; arguments are those of `rescore`.

    Their pseudo-images are added to the score itself, as if it were an accuracy as sure as that
    of the less sure kind. That varies no less than with pseudo-images of both kinds.
    """
    competitions = {
        trial: make_competition(outcome, protocol.parts[0])
        for trial, outcome in outcomes.items()
        if protocol.parts and outcome.competing
    }
    if not competitions:
        return {}
    first = next(iter(competitions.values()))  # all trials have the same images
    kinds = [images.labels for images in first]
    class_sizes = [np.unique(labels, return_counts=True)[1] for labels in kinds]
    if np.concatenate(class_sizes).min() < FEWEST_OF_CLASS:
        return {}
    sizes = [_size_of_mean(own) for own in class_sizes]
    drawn = _draw_competitions([*competitions.values()], kinds)
    every_image = [np.ones((1, len(labels))) for labels in kinds]
    exact = [resample_scores(competition, *every_image) for competition in competitions.values()]
    units, df = map(min, zip(*sizes, strict=True))
    rescored: RescoredTrials = {trial: {} for trial in competitions}
    names = ("generalized", "ausuc")
    for name, of_sets, of_images in zip(names, drawn, np.hstack(exact), strict=True):
        rng = np.random.default_rng(SEED)
        with_pseudo = _add_pseudo_images(of_sets, units, competitions, rng)
        _add_scores(rescored, name, with_pseudo, of_images, df)
    return rescored


def _draw_competitions(competitions: Sequence[Competition], kinds: Sequence[Array]) -> Array:
    """Return H and AUSUC of each trial on each set, ``(2, draws, trials)``."""
    rng = np.random.default_rng(SEED)
    scores = np.empty((2, DRAWS, len(competitions)))
    batch = max(1, LARGEST_BATCH // sum(len(labels) for labels in kinds))
    for start in range(0, DRAWS, batch):
        sets = min(batch, DRAWS - start)
        seen, unseen = [_draw_counts_by_class(labels, sets, rng) for labels in kinds]
        for column, competition in enumerate(competitions):
            scores[:, start : start + sets, column] = resample_scores(competition, seen, unseen)
    return scores


def _draw_counts_by_class(labels: Array, sets: int, rng: Generator) -> Array:
    """Draw each class by itself; return how often each set has each image, (sets, images)."""
    counts = np.empty((sets, len(labels)))
    for label in np.unique(labels):
        (rows,) = np.nonzero(labels == label)
        counts[:, rows] = _widen(_draw_counts(len(rows), sets, rng), 1, len(rows))
    return counts
