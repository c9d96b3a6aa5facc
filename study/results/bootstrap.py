"""The scores of trials on resampled test images: a bootstrap of what they predicted.

With few images, a plain bootstrap looks too sure: where all are right, every set that is drawn from
them is right as well. So pseudo-images are added to each part before it is drawn: two right and two
wrong ones for a score that stands alone, and for a difference one that either side alone gets
right. Those of a difference are drawn for each seed by itself, since seeds seldom agree on the
images that one side alone gets right.

A mean over classes is as sure as its smallest classes let it be: of 300 images and 5, it varies as
a share of 20 images does. So it gets pseudo-images and degrees of freedom as that many.

Images of one group, such as a patient, are alike: whole groups are drawn then. Groups of m_g images
count as (Σ m_g)²/Σ m_g² images, which is their number where all are of one size.

Sources: Agresti and Coull 1998, “Approximate Is Better than ‘Exact’ for Interval Estimation of
Binomial Proportions”; Bonett and Price 2012, “Adjusted Wald Confidence Interval for a Difference of
Binomial Proportions Based on Paired Data”.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from study.protocols import Protocol
from study.protocols.competition import Competition, Competitors, resample_hmean
from study.results.intervals import DrawnScores
from study.trial.predictions import Outcomes, Stratum

Array = np.ndarray
DRAWS = 2_000
"""How many sets of images are drawn; the square root of a variance is then known to about 2 %."""
SEED = 0
"""The seed of the draws."""
LARGEST_BATCH = 2**22
"""The largest number of weights that are drawn at a time, which take 8 bytes each."""
FEWEST_OF_CLASS = 2
"""The fewest images, or groups of them, of a stratum whose variance can be estimated."""
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


def _size_of_mean(strata: Sequence[Array]) -> _Size | None:
    """Return how many images the mean of the accuracies of strata is as sure as.

    Each stratum, such as a class, counts alike. The accuracy of n images has the variance v/n, with
    n − 1 degrees of freedom; v is taken to be the same in all strata. Groups are taken to be right
    or wrong as wholes.

    Args:
        strata: the number of the group of each image of each stratum.

    Returns:
        None if a stratum is a single image or group, so that its variance is not known.
    """
    counts = [np.bincount(groups).astype(float) for groups in strata]
    if min(map(len, counts)) < FEWEST_OF_CLASS:
        return None
    images = np.array([own.sum() ** 2 / (own**2).sum() for own in counts])
    variance = (1 / images).sum()
    df = variance**2 / (1 / (images**2 * (images - 1))).sum()
    # Where one group has nearly all images, less than 1 would be left, and an interval without end.
    return _Size(round(float(len(images) ** 2 / variance), 9), max(1.0, round(float(df), 9)))


def _group_numbers(outcomes: Outcomes, classes: Iterable[Stratum]) -> Array:
    """Return the number of the group of each image of some classes; one without has its own."""
    names: list[object] = []
    for stratum in classes:
        groups = outcomes.groups.get(stratum) or [""] * len(outcomes.right[stratum])
        names += [group or (stratum, number) for number, group in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


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


def resample_recalls(outcomes: Mapping[Trial, Outcomes]) -> dict[Stratum, DrawnScores]:
    """Return the accuracy on each class, on resampled images of it.

    Args:
        outcomes: the outcomes of trials that were tested on the same images.

    Returns:
        The accuracies by part and class. A class with a single image or group is left out.
    """
    rng = np.random.default_rng(SEED)
    trials = list(outcomes.values())
    recalls = {}
    for stratum in trials[0].right:
        part = _resample_part(trials, [[stratum]], rng)
        if part is not None:
            alone, *_ = _add_pseudo_images(part.drawn, part.size.units, outcomes, rng)
            recalls[stratum] = DrawnScores(alone, part.size.df)
    return recalls


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
    classes: dict[str, list[Stratum]] = defaultdict(list)
    for part, label in outcomes[0].right:
        classes[part].append((part, label))
    parts = {}
    for part, own in classes.items():
        strata = [[stratum] for stratum in own] if class_averaged else [own]
        resampled = _resample_part(outcomes, strata, rng)
        if resampled is None:
            return {}
        parts[part] = resampled
    return parts


def _resample_part(
    outcomes: Sequence[Outcomes], strata: Sequence[Sequence[Stratum]], rng: Generator
) -> _Part | None:
    """Return the mean over strata of the accuracy of each trial; None if one has a single image.

    Args:
        outcomes: the outcomes of trials that were tested on the same images.
        strata: the classes that are drawn together, of each stratum.
        rng: the generator that draws.
    """
    groups = [_group_numbers(outcomes[0], classes) for classes in strata]
    size = _size_of_mean(groups)
    if size is None:
        return None
    drawn, exact = [], []
    for classes, of_images in zip(strata, groups, strict=True):
        right = np.concatenate([_right_images(outcomes, name) for name in classes])
        drawn.append(_resample_means(right, of_images, rng))
        exact.append(right.mean(axis=0))
    return _Part(np.mean(exact, axis=0), np.mean(drawn, axis=0), size)


def _right_images(outcomes: Sequence[Outcomes], name: Stratum) -> Array:
    """Return whether each image of a class is right, ``(images, trials)``."""
    return np.array([each.right[name] for each in outcomes], dtype=np.float64).T


def _resample_means(right: Array, groups: Array, rng: Generator) -> Array:
    """Return the means over resampled images, ``(draws, trials)``; all trials have the same images.

    Args:
        right: whether each image is right, ``(images, trials)``.
        groups: the number of the group of each image.
        rng: the generator that draws.
    """
    batch = max(1, LARGEST_BATCH // len(groups))
    means = []
    for start in range(0, DRAWS, batch):
        means.append(_draw_weights(groups, min(batch, DRAWS - start), rng) @ right / len(groups))
    return np.concatenate(means)


def _draw_weights(groups: Array, sets: int, rng: Generator) -> Array:
    """Return the weight of each image in sets of groups that are drawn, ``(sets, images)``.

    The weights of a set add up to the number of images. They vary as those of a sample do: a
    bootstrap of n groups varies by (n − 1)/n of that.
    """
    units = int(groups.max()) + 1
    rows = rng.integers(units, size=(sets, units), dtype=np.int32)
    # Each set counts in bins of its own.
    rows += units * np.arange(sets, dtype=np.int32)[:, None]
    counts = np.bincount(rows.ravel(), minlength=sets * units).reshape(sets, units)
    weights = counts[:, groups] * 1.0
    weights *= len(groups) / weights.sum(axis=1, keepdims=True)
    return 1 + (weights - 1) * math.sqrt(units / (units - 1))


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
    """Return H where all names compete; arguments are those of `rescore`.

    Its pseudo-images are added to the score itself, as if it were an accuracy as sure as that
    of the less sure kind. That varies no less than with pseudo-images of both kinds.
    """
    competing = {trial: one for trial, one in outcomes.items() if protocol.parts and one.competing}
    if not competing:
        return {}
    trained = protocol.parts[0]
    competitions = {trial: make_competition(one, trained) for trial, one in competing.items()}
    first = next(iter(competing.values()))  # all trials have the same images
    kinds: dict[bool, list[Array]] = defaultdict(list)
    for part, label in first.competing:
        kinds[part == trained].append(_group_numbers(first, [(part, label)]))
    seen, unseen = kinds[True], kinds[False]
    seen_size, unseen_size = _size_of_mean(seen), _size_of_mean(unseen)
    if seen_size is None or unseen_size is None:
        return {}
    drawn = _draw_competitions(list(competitions.values()), seen, unseen)
    every_image = [np.ones((1, sum(map(len, kind)))) for kind in (seen, unseen)]
    exact = [resample_hmean(competition, *every_image) for competition in competitions.values()]
    units, df = map(min, seen_size, unseen_size)
    rescored: RescoredTrials = {trial: {} for trial in competitions}
    with_pseudo = _add_pseudo_images(drawn, units, competitions, np.random.default_rng(SEED))
    _add_scores(rescored, "generalized", with_pseudo, np.concatenate(exact), df)
    return rescored


def _draw_competitions(
    competitions: Sequence[Competition], seen: Sequence[Array], unseen: Sequence[Array]
) -> Array:
    """Return H of each trial on each set, ``(draws, trials)``.

    Args:
        competitions: the images of each trial.
        seen: the number of the group of each image, for each trained class.
        unseen: the same for each other class.
    """
    rng = np.random.default_rng(SEED)
    scores = np.empty((DRAWS, len(competitions)))
    batch = max(1, LARGEST_BATCH // sum(map(len, [*seen, *unseen])))
    for start in range(0, DRAWS, batch):
        sets = min(batch, DRAWS - start)
        weights = (_drawn_weights(seen, sets, rng), _drawn_weights(unseen, sets, rng))
        for column, competition in enumerate(competitions):
            scores[start : start + sets, column] = resample_hmean(competition, *weights)
    return scores


def _drawn_weights(kind: Sequence[Array], sets: int, rng: Generator) -> Array:
    """Return how often each image is drawn, ``(sets, images)``; each class is drawn by itself.

    Args:
        kind: the number of the group of each image, for each class.
        sets: how often the images are drawn.
        rng: the generator that draws.
    """
    return np.hstack([_draw_weights(groups, sets, rng) for groups in kind])
