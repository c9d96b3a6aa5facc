"""Trials on sets of test images that are drawn again: a bootstrap of what they predicted.

Few images would look surer than they are: where all are right, every set that is drawn again is
right as well. So pseudo-images are added to each part before it is drawn: two that are right and
two that are wrong where a score stands alone, and for a difference one on which either side alone
is right. Those of a difference are drawn for each seed apart, since seeds seldom agree on the
images that one side alone gets right.

Sources: Agresti and Coull 1998, “Approximate Is Better than ‘Exact’ for Interval Estimation of
Binomial Proportions”; Bonett and Price 2012, “Adjusted Wald Confidence Interval for a Difference of
Binomial Proportions Based on Paired Data”.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from study.protocols import Protocol
from study.protocols.competition import Competition, drawn_again
from study.trial.predictions import Outcomes

LARGEST_BATCH = 2**23
"""The largest number of counts that are drawn at a time, which take 8 bytes each."""
FEWEST_OF_CLASS = 2
"""The fewest images of a stratum whose variance can be estimated."""
PSEUDO_OF_SCORE, PSEUDO_OF_DIFFERENCE = 4, 2
"""The number of pseudo-images that are added to each part."""

Trial = tuple[str, int]
"""A trial's label and seed."""
AddPseudo = Callable[[np.ndarray], np.ndarray]
"""Adds pseudo-images to accuracies on sets, ``(draws, ...)``."""


@dataclass(frozen=True, eq=False)
class Rescored:
    """One score of a trial on sets of test images that were drawn again, ``(draws,)`` each."""

    alone: np.ndarray
    """With the pseudo-images of a score that stands alone."""
    added: np.ndarray
    """With those of a difference, for the side that is added."""
    subtracted: np.ndarray
    """With those of a difference, for the side that is subtracted."""
    df: int
    """The images of the smallest part less the number of strata that they are drawn in."""


RescoredTrials = dict[Trial, dict[str, Rescored]]
"""The scores of trials by their names."""


@dataclass(frozen=True, eq=False)
class _Part:
    """The accuracy of trials on one part of the images."""

    exact: np.ndarray
    """On the images as they are, ``(trials,)``."""
    drawn: np.ndarray
    """On each set of images, ``(draws, trials)``."""
    images: int
    df: int


@dataclass(frozen=True)
class _Pseudo:
    """How many pseudo-images each set has among its images, and how many of them are right.

    They are drawn with the images: of a set with `added` pseudo-images among `total`, each image of
    the set is one of them with the probability `added / total`.
    """

    total: int
    drawn: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, images: int, added: int, shape: tuple[int, ...], rng: np.random.Generator) -> Self:
        """Draw them for each set, half of them right on average, ``(draws,)`` or ``(draws, n)``."""
        total = images + added
        drawn = rng.binomial(total, added / total, size=shape)
        return cls(total, drawn, rng.binomial(drawn, 0.5))

    def columns(self, which: np.ndarray) -> Self:
        """Return those of some columns, one for each trial."""
        return replace(self, drawn=self.drawn[:, which], right=self.right[:, which])

    def with_right(self, accuracy: np.ndarray) -> np.ndarray:
        """Return accuracies on sets, ``(draws, ...)``, with the pseudo-images that are right."""
        return self._mixed(accuracy, self.right)

    def with_wrong(self, accuracy: np.ndarray) -> np.ndarray:
        """Return them with the other pseudo-images right instead, for the other side."""
        return self._mixed(accuracy, self.drawn - self.right)

    def _mixed(self, accuracy: np.ndarray, right: np.ndarray) -> np.ndarray:
        # Transposed, so that what is drawn once for each set counts for all trials.
        return ((self.total - self.drawn).T * accuracy.T + right.T).T / self.total


def _roles(
    images: int, draws: int, seeds: Sequence[int], rng: np.random.Generator
) -> tuple[AddPseudo, ...]:
    """Return what adds pseudo-images to a part's accuracies, for each field of `Rescored`.

    Args:
        images: how many images the part has.
        draws: how many sets are drawn.
        seeds: the seed of each trial; trials of one seed share the pseudo-images of a difference.
        rng: the generator that draws.
    """
    alone = _Pseudo.of(images, PSEUDO_OF_SCORE, (draws,), rng)
    unique, which = np.unique(seeds, return_inverse=True)
    paired = _Pseudo.of(images, PSEUDO_OF_DIFFERENCE, (draws, len(unique)), rng).columns(which)
    return alone.with_right, paired.with_right, paired.with_wrong


def rescore(
    alike: Mapping[Trial, Outcomes],
    protocol: Protocol,
    draws: int,
    seed: int,
    *,
    balanced: bool = False,
) -> RescoredTrials:
    """Return the protocol's score and its parts on images that are drawn again.

    Args:
        alike: what trials that were tested on the same images get right.
        protocol: the protocol, which makes a score of accuracies.
        draws: how many sets of images are drawn.
        seed: the seed of the draws.
        balanced: whether accuracies are averaged over classes, even if the protocol's are not.

    Returns:
        The scores by trial and name; none where a class that counts by itself has a single image.
    """
    rng = np.random.default_rng(seed)
    right = [own.right for own in alike.values()]
    parts = _accuracies(right, balanced or protocol.class_averaged, draws, rng)
    if not parts:
        return {}
    seeds = [own_seed for _, own_seed in alike]
    pseudo = {name: _roles(part.images, draws, seeds, rng) for name, part in parts.items()}
    exact = _scored(protocol, {name: part.exact[None] for name, part in parts.items()})
    roles = []
    for role in range(3):
        drawn = {name: pseudo[name][role](part.drawn) for name, part in parts.items()}
        scores = _scored(protocol, drawn)
        roles.append({name: _centred(own, exact[name]) for name, own in scores.items()})
    least = min(part.df for part in parts.values())
    by_trial: RescoredTrials = {}
    for column, trial in enumerate(alike):
        by_trial[trial] = {}
        for name in exact:
            alone, added, subtracted = (role[name][:, column] for role in roles)
            df = parts[name].df if name in parts else least
            by_trial[trial][name] = Rescored(alone, added, subtracted, df)
    return by_trial


def _centred(drawn: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return scores on sets, ``(draws, ...)``, whose mean is the score on the images themselves.

    Pseudo-images are there for the variance alone.
    """
    return drawn - drawn.mean(axis=0) + exact


def _scored(protocol: Protocol, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the protocol makes of accuracies, by name, each of the shape of a part's."""
    arrays: Mapping[str, Any] = parts
    try:
        return {name: np.asarray(own) for name, own in protocol.score(arrays).items()}
    except (TypeError, ValueError):  # a score that compares, such as hmean, takes single numbers
        shape = next(iter(parts.values())).shape
    rows = zip(*(part.ravel().tolist() for part in parts.values()), strict=True)
    scores = [protocol.score(dict(zip(parts, row, strict=True))) for row in rows]
    return {name: np.array([one[name] for one in scores]).reshape(shape) for name in scores[0]}


def _accuracies(
    right: Sequence[Mapping[tuple[str, str], Sequence[bool]]],
    class_averaged: bool,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, _Part]:
    """Return the accuracy of each trial on each part of the images.

    The accuracy is the mean over a part's classes if `class_averaged`, else over its images. There
    is none where one of these has a single image.
    """
    strata: dict[str, list[np.ndarray]] = defaultdict(list)
    for part, label in right[0]:
        strata[part].append(np.array([own[part, label] for own in right]).T)
    if not class_averaged:
        strata = {part: [np.concatenate(classes)] for part, classes in strata.items()}
    if min(len(own) for classes in strata.values() for own in classes) < FEWEST_OF_CLASS:
        return {}
    parts = {}
    for part, classes in strata.items():
        images = sum(map(len, classes))
        drawn = np.mean([_resampled_means(own, draws, rng) for own in classes], axis=0)
        exact = np.mean([own.mean(axis=0) for own in classes], axis=0)
        parts[part] = _Part(exact, drawn, images, images - len(classes))
    return parts


def _resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the means of columns over rows drawn again, ``(draws, columns)``.

    The same rows are drawn for all columns.

    Args:
        values: ``(images, columns)``; a column for each trial, of whether it is right.
        draws: how many sets of rows are drawn.
        rng: the generator that draws.
    """
    images = len(values)
    batch = max(1, LARGEST_BATCH // images)
    right = values.astype(np.float32)  # which holds sums of up to 16 million exactly
    sums = []
    for start in range(0, draws, batch):
        counts = _counts(images, min(batch, draws - start), rng)
        sums.append(counts.astype(np.float32) @ right)
    means = np.concatenate(sums).astype(np.float64) / images
    return _widened(means, values.mean(axis=0), images)


def _counts(images: int, sets: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each set has each image, (sets, images)."""
    rows = rng.integers(images, size=(sets, images), dtype=np.int32)
    rows += images * np.arange(sets, dtype=np.int32)[:, None]
    return np.bincount(rows.ravel(), minlength=sets * images).reshape(sets, images)


def _widened(drawn: np.ndarray, mean: np.ndarray | float, images: int) -> np.ndarray:
    """Return means over sets of images, or counts of them, with the variance of a sample.

    A bootstrap of n images varies by (n − 1)/n of what a sample does.
    """
    return mean + (drawn - mean) * math.sqrt(images / (images - 1))


def make_competition(outcomes: Outcomes, trained: str) -> Competition:
    """Return the images of a trial whose names compete.

    Args:
        outcomes: what a trial took its images for.
        trained: the part of the images of trained classes.
    """
    columns = []
    for own in (True, False):
        rows = [
            (gap, right, number)
            for number, ((part, _), images) in enumerate(outcomes.competing.items())
            if (part == trained) is own
            for right, gap in images
        ]
        gaps, right, labels = zip(*rows, strict=True) if rows else ((), (), ())
        columns += [np.array(gaps, float), np.array(right, bool), np.array(labels, int)]
    return Competition(*columns)


def rescore_competitions(
    alike: Mapping[Trial, Outcomes], protocol: Protocol, draws: int, seed: int
) -> RescoredTrials:
    """Return H and AUSUC where all names compete; arguments are those of `rescore`.

    Their pseudo-images are added to the score itself, as if it were an accuracy on as many images
    as the smaller kind has. That varies no less than with pseudo-images of both kinds.
    """
    models = {
        trial: make_competition(own, protocol.parts[0])
        for trial, own in alike.items()
        if protocol.parts and own.competing
    }
    if not models:
        return {}
    one = next(iter(models.values()))  # the images are those of all
    kinds = (one.seen_labels, one.unseen_labels)
    sizes = [np.unique(labels, return_counts=True)[1] for labels in kinds]
    if min(size for own in sizes for size in own) < FEWEST_OF_CLASS:
        return {}
    drawn = _drawn_competitions(models, kinds, draws, np.random.default_rng(seed))
    df = min(int(own.sum()) - len(own) for own in sizes)
    images = min(map(len, kinds))
    seeds = [own_seed for _, own_seed in drawn]
    roles = _roles(images, draws, seeds, np.random.default_rng(seed))
    by_trial: RescoredTrials = {trial: {} for trial in drawn}
    whole = {
        trial: drawn_again(models[trial], *(np.ones((1, len(labels))) for labels in kinds))
        for trial in drawn
    }
    for position, name in enumerate(("generalized", "ausuc")):
        scores = np.stack([own[position] for own in drawn.values()], axis=1)
        added = [add(scores) for add in roles]
        for column, trial in enumerate(drawn):
            (exact,) = whole[trial][position]
            alone, plus, minus = (_centred(role[:, column], exact) for role in added)
            by_trial[trial][name] = Rescored(alone, plus, minus, df)
    return by_trial


def _drawn_competitions(
    competing: Mapping[Trial, Competition],
    kinds: tuple[np.ndarray, np.ndarray],
    draws: int,
    rng: np.random.Generator,
) -> dict[Trial, tuple[np.ndarray, np.ndarray]]:
    """Return H and AUSUC of each trial on each set, ``(draws,)`` each."""
    batches: dict[Trial, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    batch = max(1, LARGEST_BATCH // sum(map(len, kinds)))
    for start in range(0, draws, batch):
        sets = min(batch, draws - start)
        seen, unseen = (_sets(labels, sets, rng) for labels in kinds)
        for trial, own in competing.items():
            batches[trial].append(drawn_again(own, seen, unseen))
    joined = {}
    for trial, pieces in batches.items():
        means, areas = zip(*pieces, strict=True)
        joined[trial] = np.concatenate(means), np.concatenate(areas)
    return joined


def _sets(labels: np.ndarray, sets: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each set has each image, as many of a class as it has, (sets, images)."""
    counts = np.empty((sets, len(labels)))
    for label in np.unique(labels):
        (at,) = np.nonzero(labels == label)
        counts[:, at] = _widened(_counts(len(at), sets, rng), 1, len(at))
    return counts
