"""How scores would vary over other test images: a bootstrap of the predictions of tested trials."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from study.analysis.results import TrialResult
from study.analysis.statistics import (
    DRAWS,
    LARGEST_BATCH,
    Interval,
    PairedDifference,
    percentile_interval,
    resampled_means,
)
from study.protocols import Protocol
from study.protocols.competition import Competition, drawn_again
from study.trial.predictions import Outcomes

Trial = tuple[str, int]
"""A trial's label and seed."""


@dataclass(frozen=True)
class Resampled:
    """The scores of trials on sets of test images that were drawn again.

    The sets are the same for all trials that were tested on the same images.
    """

    images: Mapping[tuple[str, int], str]
    """The hash of the images that a trial was tested on, by its label and seed."""
    scores: Mapping[tuple[str, int], Mapping[str, np.ndarray]]
    """What the protocol returns of the accuracies, by label and seed; ``(draws,)`` each."""

    def interval(
        self, label: str, seeds: Sequence[int], name: str = "score", *, less: str | None = None
    ) -> Interval | None:
        """Return the percentile interval of a mean over seeds, or of a paired difference.

        Args:
            label: the label of the trials.
            seeds: their seeds.
            name: the score to take the mean of.
            less: a label whose mean over the same seeds is subtracted.

        Returns:
            The interval; None unless all these trials have the score on the same images.
        """
        others = [] if less is None else [(less, -1)]
        return self.weighted([(label, 1), *others], seeds, name)

    def weighted(
        self, terms: Sequence[tuple[str, int]], seeds: Sequence[int], name: str = "score"
    ) -> Interval | None:
        """Return the percentile interval of a weighted sum of labels' means over the same seeds.

        Args:
            terms: the labels, each with its weight.
            seeds: the seeds.
            name: the score to take the means of.

        Returns:
            The interval; None unless all these trials have the score on the same images.
        """
        trials = [(label, seed) for label, _ in terms for seed in seeds]
        if not all(name in self.scores.get(trial, {}) for trial in trials):
            return None
        if len({self.images[trial] for trial in trials}) != 1:
            return None
        means = (
            weight * np.mean([self.scores[label, seed][name] for seed in seeds], axis=0)
            for label, weight in terms
        )
        return percentile_interval(sum(means))

    def beside(self, paired: PairedDifference, one: str, other: str) -> PairedDifference:
        """Return the difference between the scores of two labels with its interval over images."""
        images = self.interval(one, paired.seeds, less=other)
        return replace(paired, difference=replace(paired.difference, images=images))


def resample(
    tested: Iterable[TrialResult],
    protocol: Protocol | None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Resampled:
    """Score trials on test images that are drawn again with replacement.

    Each part of the test images is drawn apart, and each of its classes where the protocol averages
    over classes.

    Args:
        tested: trials, of which those without `outcomes` are left out.
        protocol: the protocol, which makes a score of accuracies; without it, there are none.
        draws: how many sets of images are drawn.
        seed: the seed of the draws.
    """
    known = {(t.label, t.seed): t.outcomes for t in tested if t.outcomes is not None}
    scores: dict[tuple[str, int], Mapping[str, np.ndarray]] = {}
    if protocol is None:
        return Resampled({}, {})
    for images in dict.fromkeys(own.images for own in known.values()):
        alike = {trial: own.right for trial, own in known.items() if own.images == images}
        drawn = _accuracies(
            list(alike.values()), protocol.class_averaged, draws, np.random.default_rng(seed)
        )
        competing = {
            trial: competition_of(known[trial], protocol.parts[0])
            for trial in alike
            if protocol.parts and known[trial].competing
        }
        beside = _beside(competing, draws, np.random.default_rng(seed))
        for column, trial in enumerate(alike):
            parts = zip(*(means[:, column].tolist() for means in drawn.values()), strict=True)
            scored = [protocol.score(dict(zip(drawn, values, strict=True))) for values in parts]
            own = {name: np.array([s[name] for s in scored]) for name in scored[0]}
            scores[trial] = {**own, **beside.get(trial, {})}
    return Resampled({trial: own.images for trial, own in known.items()}, scores)


def competition_of(outcomes: Outcomes, trained: str) -> Competition:
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


def _beside(
    competing: Mapping[Trial, Competition], draws: int, rng: np.random.Generator
) -> dict[Trial, dict[str, np.ndarray]]:
    """Return the scores of trials where all names compete, on images that are drawn again."""
    found: dict[Trial, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for one in list(competing.values())[:1]:  # the images are those of all
        batch = max(1, LARGEST_BATCH // (len(one.seen_gap) + len(one.unseen_gap)))
        for start in range(0, draws, batch):
            sets = min(batch, draws - start)
            seen, unseen = (_sets(own, sets, rng) for own in (one.seen_labels, one.unseen_labels))
            for trial, own in competing.items():
                found[trial].append(drawn_again(own, seen, unseen))
    joined = {trial: map(np.concatenate, zip(*own, strict=True)) for trial, own in found.items()}
    names = ("generalized", "ausuc")
    return {trial: dict(zip(names, own, strict=True)) for trial, own in joined.items()}


def _sets(labels: np.ndarray, sets: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each set has each image, as many of a class as it has, (sets, images)."""
    counts = np.empty((sets, len(labels)))
    for label in np.unique(labels):
        (at,) = np.nonzero(labels == label)
        counts[:, at] = rng.multinomial(len(at), np.full(len(at), 1 / len(at)), size=sets)
    return counts


def _accuracies(
    right: Sequence[Mapping[tuple[str, str], Sequence[bool]]],
    class_averaged: bool,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the accuracy of each trial on each set of images, ``(draws, trials)`` for each part.

    The accuracy is the mean over a part's classes if `class_averaged`, else over its images.
    """
    strata: dict[str, list[np.ndarray]] = defaultdict(list)
    for part, label in right[0]:
        strata[part].append(np.array([own[part, label] for own in right]).T)
    if not class_averaged:
        strata = {part: [np.concatenate(classes)] for part, classes in strata.items()}
    none = np.zeros((draws, len(right)))
    return {
        part: sum((resampled_means(own, rng, draws) for own in classes), start=none) / len(classes)
        for part, classes in strata.items()
    }
