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

from study.config.trial_settings import Head
from study.protocols import Protocol
from study.results.trial_results import TrialResult
from study.trial.predictions import BALANCED, Outcomes, Stratum

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

Scored = tuple[str, int, Head]
"""A trial's label and seed, and the head that it is scored with."""


class DrawnScores(NamedTuple):
    """The scores of several seeds on sets of resampled test images and pseudo-images.

    They are there for their variances: pseudo-images shift their means.
    """

    scores: Array
    """The score, or the difference of two, on each set, ``(draws, seeds)`` float64."""
    df: float
    """The degrees of freedom of their variance."""


class Rescored(NamedTuple):
    """One score of a trial on sets of resampled test images, ``(draws,)`` each."""

    images: str
    """The hash of the images that the trial was tested on."""
    alone: Array
    """With the pseudo-images of a score that stands alone."""
    minuend: Array
    """With those of a difference, as the score that another one is subtracted from."""
    subtrahend: Array
    """With those of a difference, as the score that is subtracted."""
    df: float
    """The degrees of freedom of their variance; those of the part with the fewest."""


class _Part(NamedTuple):
    """The accuracy of trials on one part of the images."""

    drawn: Array
    """The accuracy on each resampled set, ``(draws, trials)``."""
    units: float
    """The number of images in a simple sample on which a share varies as much."""
    df: float
    """The degrees of freedom of the variance (Satterthwaite)."""


class ResampledTests(NamedTuple):
    """The scores of trials on resampled test images, from which all intervals over images come.

    Trials that were tested on the same images are scored on the same sets of them.
    """

    scores: Mapping[tuple[str, int], Mapping[str, Rescored]]
    """The scores by the trial's label and seed, and by name; empty where no predictions were kept.

    ``score_text`` and the like are those of each head."""
    overlap: float | None = None
    """The mean share of training images that two seeds have in common; None if it is not known."""
    single_image_class: bool = False
    """Whether a class has a single image, so that averages over classes have no variance."""

    def drawn(
        self, label: str, less: str | None, seeds: Iterable[int], name: str = "score"
    ) -> DrawnScores | None:
        """Return the score of each seed on resampled test images, or a difference of two.

        Args:
            label: the label of the trials.
            less: the label of those that are subtracted; None if the score stands alone.
            seeds: the seeds.
            name: the name of the score.

        Returns:
            A column a seed; None unless all these trials have the score on the same images.
        """
        trials = [(one, seed) for seed in seeds for one in (label, less) if one is not None]
        found = [self.scores[trial][name] for trial in trials if name in self.scores.get(trial, {})]
        if len(found) < len(trials) or len({one.images for one in found}) != 1:
            return None
        columns = [one.alone for one in found]
        if less is not None:
            pairs = zip(found[::2], found[1::2], strict=True)
            columns = [one.minuend - other.subtrahend for one, other in pairs]
        return DrawnScores(np.stack(columns, axis=1), min(one.df for one in found))


def resample_tests(
    tested: Iterable[TrialResult], protocol: Protocol, *, overlap: float | None = None
) -> ResampledTests:
    """Score trials on sets of their test images that are drawn with replacement.

    Each part of the test images is drawn by itself, as is each class if the protocol averages over
    classes.

    Args:
        tested: trials; those without `outcomes` are left out.
        protocol: the protocol, which makes a score of accuracies.
        overlap: see `ResampledTests.overlap`.
    """
    tested = list(tested)
    by_images: dict[str, dict[Scored, Outcomes]] = defaultdict(dict)
    for trial in tested:
        for head, outcomes in trial.outcomes.items():
            by_images[outcomes.images][trial.label, trial.seed, head] = outcomes
    own_heads = {(trial.label, trial.seed): trial.settings.head for trial in tested}
    scores: dict[tuple[str, int], dict[str, Rescored]] = defaultdict(dict)
    single_image_class = False
    for on_images in by_images.values():
        plain = rescore(on_images, protocol)
        balanced = rescore(on_images, protocol, balanced=True)
        single_image_class |= not plain or not balanced
        for label, seed, head in on_images:
            of_head = plain.get((label, seed, head), {})
            if (label, seed, head) in balanced:
                of_head[BALANCED] = balanced[label, seed, head]["score"]
            if head == own_heads[label, seed]:
                scores[label, seed] |= of_head
            if "score" in of_head:
                scores[label, seed][f"score_{head}"] = of_head["score"]
    return ResampledTests(scores, overlap, single_image_class)


def rescore(
    outcomes: Mapping[Scored, Outcomes], protocol: Protocol, *, balanced: bool = False
) -> dict[Scored, dict[str, Rescored]]:
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
    trials = list(outcomes.values())
    classes: dict[str, list[Stratum]] = defaultdict(list)
    for part, label in trials[0].right:
        classes[part].append((part, label))
    parts: dict[str, _Part] = {}
    for name, own in classes.items():
        by_class = balanced or protocol.class_averaged
        strata = [[stratum] for stratum in own] if by_class else [own]
        resampled = _resample_part(trials, strata, rng)
        if resampled is None:
            return {}
        parts[name] = resampled
    drawn = {
        name: _add_pseudo_images(part.drawn, part.units, outcomes, rng)
        for name, part in parts.items()
    }
    least_df = min(part.df for part in parts.values())
    rescored: dict[Scored, dict[str, Rescored]] = {trial: {} for trial in outcomes}
    for name, redrawn in _score_accuracies(protocol, drawn).items():
        df = parts[name].df if name in parts else least_df
        for column, scores in enumerate(rescored.values()):
            alone, minuend, subtrahend = redrawn[:, :, column]
            scores[name] = Rescored(trials[0].images, alone, minuend, subtrahend, df)
    return rescored


def resample_recalls(outcomes: Mapping[Scored, Outcomes]) -> dict[Stratum, DrawnScores]:
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
            alone, *_ = _add_pseudo_images(part.drawn, part.units, outcomes, rng)
            recalls[stratum] = DrawnScores(alone, part.df)
    return recalls


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
    drawn = []
    for classes, numbers in zip(strata, groups, strict=True):
        # Whether each image is right, (images, trials).
        rows = [np.concatenate([one.right[stratum] for stratum in classes]) for one in outcomes]
        right = np.array(rows, dtype=np.float64).T
        batch = max(1, LARGEST_BATCH // len(numbers))
        starts = range(0, DRAWS, batch)
        weights = (_draw(numbers, min(batch, DRAWS - start), rng) for start in starts)
        drawn.append(np.concatenate([each @ right / len(numbers) for each in weights]))
    return _Part(np.mean(drawn, axis=0), *size)


def _group_numbers(outcomes: Outcomes, classes: Iterable[Stratum]) -> Array:
    """Return the number of the group of each image of some classes; one without has its own."""
    names: list[object] = []
    for stratum in classes:
        groups = outcomes.groups.get(stratum) or [""] * len(outcomes.right[stratum])
        names += [group or (stratum, number) for number, group in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _size_of_mean(strata: Sequence[Array]) -> tuple[float, float] | None:
    """Return how many images the mean of the accuracies of strata is as sure as, and its df.

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
    return round(float(len(images) ** 2 / variance), 9), max(1.0, round(float(df), 9))


def _draw(groups: Array, sets: int, rng: Generator) -> Array:
    """Return the weight of each image in sets of groups that are drawn, ``(sets, images)``.

    The weights of a set add up to the number of images. They vary as those of a sample do: a
    bootstrap of n groups varies by (n − 1)/n of that.

    Args:
        groups: the number of the group of each image.
        sets: how often the groups are drawn.
        rng: the generator that draws.
    """
    units = int(groups.max()) + 1
    rows = rng.integers(units, size=(sets, units), dtype=np.int32)
    # Each set counts in bins of its own.
    rows += units * np.arange(sets, dtype=np.int32)[:, None]
    counts = np.bincount(rows.ravel(), minlength=sets * units).reshape(sets, units)
    weights = counts[:, groups] * 1.0
    weights *= len(groups) / weights.sum(axis=1, keepdims=True)
    return 1 + (weights - 1) * math.sqrt(units / (units - 1))


def _add_pseudo_images(
    accuracy: Array, units: float, trials: Iterable[Scored], rng: Generator
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
    _, by_seed = np.unique([seed for _, seed, _ in trials], return_inverse=True)
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
