"""The scores of trials on resampled test images: a bootstrap of what they predicted.

With few images, a plain bootstrap looks too sure: where all are right, every set that is drawn from
them is right as well. So pseudo-images are added to each part before it is drawn: two right and two
wrong ones for a score that stands alone, and for a difference one that either side alone gets
right. Those of a difference are drawn for each seed by itself, since seeds seldom agree on the
images that one side alone gets right.

Sources: Agresti and Coull 1998, “Approximate Is Better than ‘Exact’ for Interval Estimation of
Binomial Proportions”; Bonett and Price 2012, “Adjusted Wald Confidence Interval for a Difference of
Binomial Proportions Based on Paired Data”.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from study.protocols import Protocol
from study.protocols.competition import Competition, resample_scores
from study.trial.predictions import Outcomes

LARGEST_BATCH = 2**23
"""The largest number of counts that are drawn at a time, which take 8 bytes each."""
FEWEST_OF_CLASS = 2
"""The fewest images of a stratum whose variance can be estimated."""
PSEUDO_OF_SCORE, PSEUDO_OF_DIFFERENCE = 4, 2
"""The number of pseudo-images that are added to each part."""

Trial = tuple[str, int]
"""A trial's label and seed."""


@dataclass(frozen=True, eq=False)
class Rescored:
    """One score of a trial on sets of resampled test images, ``(draws,)`` each."""

    alone: np.ndarray
    """With the pseudo-images of a score that stands alone."""
    minuend: np.ndarray
    """With the pseudo-images of a difference, for the scores that others are subtracted from."""
    subtrahend: np.ndarray
    """With the pseudo-images of a difference, for the scores that are subtracted."""
    df: int
    """The images of the smallest part less the number of strata that they are drawn in."""

    def side(self, weight: float) -> np.ndarray:
        """Return the scores to add with a weight: `minuend` if positive, else `subtrahend`."""
        if weight > 0:
            return self.minuend
        return self.subtrahend


RescoredTrials = dict[Trial, dict[str, Rescored]]
"""The scores of trials by their names."""


@dataclass(frozen=True, eq=False)
class _Part:
    """The accuracy of trials on one part of the images."""

    exact: np.ndarray
    """The accuracy on the tested images, ``(trials,)``."""
    drawn: np.ndarray
    """The accuracy on each resampled set, ``(draws, trials)``."""
    images: int
    df: int


@dataclass(frozen=True)
class _PseudoCounts:
    """How many pseudo-images each set has, and how many of them are right.

    A set is drawn from the images and the pseudo-images together, so that each of its images is a
    pseudo-image with the probability of their share.
    """

    total: int
    """The number of images and pseudo-images together, which is the size of each set."""
    drawn: np.ndarray
    """The number of pseudo-images in each set, ``(draws, ...)``."""
    right: np.ndarray
    """The number of those that are right, of the same shape."""

    @classmethod
    def draw(
        cls, images: int, pseudo_images: int, shape: tuple[int, ...], rng: np.random.Generator
    ) -> Self:
        """Draw pseudo-images for each set, half of them right on average.

        Args:
            images: the number of images.
            pseudo_images: the number of pseudo-images beside them.
            shape: ``(draws,)``, or ``(draws, n)`` to draw n times for each set.
            rng: the generator that draws.
        """
        total = images + pseudo_images
        drawn = rng.binomial(total, pseudo_images / total, size=shape)
        return cls(total, drawn, rng.binomial(drawn, 0.5))

    def with_right(self, accuracy: np.ndarray) -> np.ndarray:
        """Return accuracies on sets, ``(draws, ...)``, with the pseudo-images that are right."""
        return self._mix(accuracy, self.right)

    def with_wrong(self, accuracy: np.ndarray) -> np.ndarray:
        """Return accuracies on sets with the other pseudo-images right, for the other side."""
        return self._mix(accuracy, self.drawn - self.right)

    def _mix(self, accuracy: np.ndarray, right: np.ndarray) -> np.ndarray:
        # Transposed, so that what is drawn once for each set counts for all trials.
        right_images = (self.total - self.drawn).T * accuracy.T + right.T
        mixed: np.ndarray = right_images.T / self.total
        return mixed


@dataclass(frozen=True)
class _PartPseudoImages:
    """The pseudo-images of a part of the images."""

    of_score: _PseudoCounts
    """Those of a score that stands alone, which all trials share."""
    of_difference: _PseudoCounts
    """Those of a difference, a column a trial."""

    def add_to(self, accuracy: np.ndarray) -> dict[str, np.ndarray]:
        """Return accuracies, ``(draws, trials)``, with pseudo-images, by `Rescored` field."""
        return {
            "alone": self.of_score.with_right(accuracy),
            "minuend": self.of_difference.with_right(accuracy),
            "subtrahend": self.of_difference.with_wrong(accuracy),
        }


def _draw_pseudo_images(
    images: int, draws: int, seeds: Sequence[int], rng: np.random.Generator
) -> _PartPseudoImages:
    """Draw the pseudo-images of a part.

    Args:
        images: how many images the part has.
        draws: how many sets are drawn.
        seeds: the seed of each trial; trials of one seed share the pseudo-images of a difference.
        rng: the generator that draws.
    """
    of_score = _PseudoCounts.draw(images, PSEUDO_OF_SCORE, (draws,), rng)
    distinct_seeds, columns = np.unique(seeds, return_inverse=True)
    of_seed = _PseudoCounts.draw(images, PSEUDO_OF_DIFFERENCE, (draws, len(distinct_seeds)), rng)
    of_trial = replace(of_seed, drawn=of_seed.drawn[:, columns], right=of_seed.right[:, columns])
    return _PartPseudoImages(of_score, of_trial)


def rescore(
    outcomes: Mapping[Trial, Outcomes],
    protocol: Protocol,
    draws: int,
    seed: int,
    *,
    balanced: bool = False,
) -> RescoredTrials:
    """Return the protocol's score and its parts on resampled images.

    Args:
        outcomes: the outcomes of trials that were tested on the same images.
        protocol: the protocol, which makes a score of accuracies.
        draws: how many sets of images are drawn.
        seed: the seed of the draws.
        balanced: whether accuracies are averaged over classes, even if the protocol's are not.

    Returns:
        The scores by trial and name. Empty if a stratum has a single image, where a stratum is a
        class or, if accuracies are not averaged over classes, a whole part.
    """
    rng = np.random.default_rng(seed)
    right = [outcome.right for outcome in outcomes.values()]
    parts = _resample_parts(right, balanced or protocol.class_averaged, draws, rng)
    if not parts:
        return {}
    trial_seeds = [trial_seed for _, trial_seed in outcomes]
    accuracies = {}
    for name, part in parts.items():
        pseudo = _draw_pseudo_images(part.images, draws, trial_seeds, rng)
        accuracies[name] = pseudo.add_to(part.drawn)
    scores = {}
    for field in ("alone", "minuend", "subtrahend"):
        of_field = {name: drawn[field] for name, drawn in accuracies.items()}
        scores[field] = _score_accuracies(protocol, of_field)
    exact_scores = _score_accuracies(protocol, {name: p.exact[None] for name, p in parts.items()})
    least_df = min(part.df for part in parts.values())
    rescored: RescoredTrials = {trial: {} for trial in outcomes}
    for name, exact in exact_scores.items():
        df = parts[name].df if name in parts else least_df
        centered = {field: _center(drawn[name], exact) for field, drawn in scores.items()}
        for column, trial in enumerate(outcomes):
            fields = {field: values[:, column] for field, values in centered.items()}
            rescored[trial][name] = Rescored(**fields, df=df)
    return rescored


def _center(drawn: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return scores on sets, ``(draws, ...)``, whose mean is the score on the images themselves.

    Pseudo-images are there for the variance alone.
    """
    centered: np.ndarray = drawn - drawn.mean(axis=0) + exact
    return centered


def _score_accuracies(protocol: Protocol, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the protocol's scores of accuracies by name, in arrays of the same shape."""
    arrays: Mapping[str, Any] = parts
    try:
        return {name: np.asarray(score) for name, score in protocol.score(arrays).items()}
    except (TypeError, ValueError):  # a score that compares, such as hmean, takes single numbers
        pass
    flat_parts = [part.ravel().tolist() for part in parts.values()]
    scores: dict[str, list[float]] = defaultdict(list)
    for accuracies in zip(*flat_parts, strict=True):
        for name, score in protocol.score(dict(zip(parts, accuracies, strict=True))).items():
            scores[name].append(score)
    shape = next(iter(parts.values())).shape
    return {name: np.array(values).reshape(shape) for name, values in scores.items()}


def _resample_parts(
    right: Sequence[Mapping[tuple[str, str], Sequence[bool]]],
    class_averaged: bool,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, _Part]:
    """Return the accuracy of each trial on each part of the images.

    The accuracy is the mean over a part's classes if `class_averaged`, else over its images. Each
    class, or else each part, is a stratum that is drawn by itself. Empty if one has a single image.
    """
    strata: dict[str, list[np.ndarray]] = defaultdict(list)
    for part, label in right[0]:
        of_trials = [by_class[part, label] for by_class in right]
        strata[part].append(np.array(of_trials).T)
    if not class_averaged:
        strata = {part: [np.concatenate(classes)] for part, classes in strata.items()}
    parts = {}
    for part, classes in strata.items():
        if min(len(stratum) for stratum in classes) < FEWEST_OF_CLASS:
            return {}
        images = sum(len(stratum) for stratum in classes)
        drawn = np.mean([_resample_means(stratum, draws, rng) for stratum in classes], axis=0)
        exact = np.mean([stratum.mean(axis=0) for stratum in classes], axis=0)
        parts[part] = _Part(exact, drawn, images, df=images - len(classes))
    return parts


def _resample_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the means of columns over resampled rows, ``(draws, columns)``.

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
        counts = _draw_counts(images, min(batch, draws - start), rng)
        sums.append(counts.astype(np.float32) @ right)
    means = np.concatenate(sums).astype(np.float64) / images
    return _widen(means, values.mean(axis=0), images)


def _draw_counts(images: int, sets: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each set has each image, (sets, images)."""
    rows = rng.integers(images, size=(sets, images), dtype=np.int32)
    # Each set counts in bins of its own.
    rows += images * np.arange(sets, dtype=np.int32)[:, None]
    counts = np.bincount(rows.ravel(), minlength=sets * images)
    return counts.reshape(sets, images)


def _widen(drawn: np.ndarray, mean: np.ndarray | float, images: int) -> np.ndarray:
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
    columns = []
    for of_trained in (True, False):
        gaps, right, labels = [], [], []
        for number, ((part, _), images) in enumerate(outcomes.competing.items()):
            if (part == trained) is of_trained:
                right += [image_right for image_right, _ in images]
                gaps += [gap for _, gap in images]
                labels += [number] * len(images)
        columns += [np.array(gaps, float), np.array(right, bool), np.array(labels, int)]
    return Competition(*columns)


def rescore_competitions(
    outcomes: Mapping[Trial, Outcomes], protocol: Protocol, draws: int, seed: int
) -> RescoredTrials:
    """Return H and AUSUC where all names compete; arguments are those of `rescore`.

    Their pseudo-images are added to the score itself, as if it were an accuracy on as many images
    as the smaller kind has. That varies no less than with pseudo-images of both kinds.
    """
    competitions = {}
    for trial, outcome in outcomes.items():
        if protocol.parts and outcome.competing:
            competitions[trial] = make_competition(outcome, protocol.parts[0])
    if not competitions:
        return {}
    first = next(iter(competitions.values()))  # all trials have the same images
    kinds = (first.seen_labels, first.unseen_labels)
    class_sizes = [np.unique(labels, return_counts=True)[1] for labels in kinds]
    if np.concatenate(class_sizes).min() < FEWEST_OF_CLASS:
        return {}
    drawn = _draw_competitions(competitions, kinds, draws, np.random.default_rng(seed))
    trial_seeds = [trial_seed for _, trial_seed in competitions]
    images = min(len(labels) for labels in kinds)
    pseudo = _draw_pseudo_images(images, draws, trial_seeds, np.random.default_rng(seed))
    df = min(int(sizes.sum()) - len(sizes) for sizes in class_sizes)
    every_image = [np.ones((1, len(labels))) for labels in kinds]
    rescored: RescoredTrials = {trial: {} for trial in competitions}
    for position, name in enumerate(("generalized", "ausuc")):
        scores = np.stack([pair[position] for pair in drawn.values()], axis=1)
        with_pseudo = pseudo.add_to(scores)
        for column, (trial, competition) in enumerate(competitions.items()):
            (exact,) = resample_scores(competition, *every_image)[position]
            fields = {}
            for field, values in with_pseudo.items():
                fields[field] = _center(values[:, column], exact)
            rescored[trial][name] = Rescored(**fields, df=df)
    return rescored


def _draw_competitions(
    competitions: Mapping[Trial, Competition],
    kinds: tuple[np.ndarray, np.ndarray],
    draws: int,
    rng: np.random.Generator,
) -> dict[Trial, tuple[np.ndarray, np.ndarray]]:
    """Return H and AUSUC of each trial on each set, ``(draws,)`` each."""
    batches: dict[Trial, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    batch = max(1, LARGEST_BATCH // sum(len(labels) for labels in kinds))
    for start in range(0, draws, batch):
        sets = min(batch, draws - start)
        seen, unseen = [_draw_counts_by_class(labels, sets, rng) for labels in kinds]
        for trial, competition in competitions.items():
            batches[trial].append(resample_scores(competition, seen, unseen))
    joined = {}
    for trial, pairs in batches.items():
        means, areas = zip(*pairs, strict=True)
        joined[trial] = np.concatenate(means), np.concatenate(areas)
    return joined


def _draw_counts_by_class(labels: np.ndarray, sets: int, rng: np.random.Generator) -> np.ndarray:
    """Draw each class by itself; return how often each set has each image, (sets, images)."""
    counts = np.empty((sets, len(labels)))
    for label in np.unique(labels):
        (rows,) = np.nonzero(labels == label)
        counts[:, rows] = _widen(_draw_counts(len(rows), sets, rng), 1, len(rows))
    return counts
