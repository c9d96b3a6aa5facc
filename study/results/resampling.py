"""How scores would vary over other test images, and with that the intervals of a study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.protocols import Protocol
from study.results.bootstrap import Rescored, RescoredTrials, Trial, rescore, rescore_competitions
from study.results.intervals import CONFIDENCE, DrawnScores, Interval, MeanInterval, mean_interval
from study.results.statistics import Comparison, PairedDifference, common_seeds, make_comparisons
from study.results.study_results import TrialResult
from study.selection.chance import BALANCED

DRAWS = 2_000
"""How many sets of images are drawn; the square root of a variance is then known to about 2 %."""


@dataclass(frozen=True)
class Resampled:
    """The scores of trials on sets of test images that were drawn again.

    The sets are the same for all trials that were tested on the same images. All intervals of a
    study come from here, so that all count the same.
    """

    images: Mapping[Trial, str]
    """The hash of the images that a trial was tested on, by its label and seed."""
    scores: Mapping[Trial, Mapping[str, Rescored]]
    """What the protocol returns of the accuracies, by label and seed, and by name."""
    overlap: float | None = None
    """The mean share of training images that two seeds have in common; None if it is not known."""
    single_image_class: bool = False
    """Whether a class has a single image, so that averages over classes have no variance."""

    def mean_interval(
        self, label: str, scores: Mapping[int, float], name: str = "score", *, trained: bool = True
    ) -> MeanInterval:
        """Return the mean of a label's scores, with its interval within 0 and 1.

        Args:
            label: the label of the trials.
            scores: the score of each seed.
            name: what the score is called in `scores`.
            trained: whether anything is trained.
        """
        return mean_interval(
            list(scores.values()),
            self.weighted_draws([(label, 1)], tuple(scores), name),
            overlap=self.overlap,
            trained=trained,
            lowest=0.0,
            highest=1.0,
        )

    def difference(
        self,
        one: str,
        values: Mapping[int, float],
        other: str,
        base: Mapping[int, float],
        name: str = "score",
    ) -> PairedDifference | None:
        """Return the mean of `values - base` over common seeds, with its interval.

        Args:
            one: the label of the trials whose scores are `values`.
            values: the score of each seed.
            other: the label of the trials whose scores are `base`.
            base: the score of each seed of these.
            name: what the score is called.
        """
        return self.weighted_sum([(one, values, 1), (other, base, -1)], name)

    def compare(
        self, scores: Mapping[str, Mapping[int, float]], baseline: str
    ) -> dict[str, Comparison]:
        """Compare all others with a baseline over common seeds, corrected for their number.

        Args:
            scores: the score of each seed, by label.
            baseline: the label of the baseline; without scores of it, nothing is compared.
        """
        base = scores.get(baseline, {})
        paired = {}
        for label, values in scores.items():
            if label == baseline:
                continue
            found = self.difference(label, values, baseline, base)
            if found is not None:
                paired[label] = found
        return make_comparisons(paired)

    def weighted_sum(
        self, terms: Sequence[tuple[str, Mapping[int, float], float]], name: str = "score"
    ) -> PairedDifference | None:
        """Return a weighted sum of labels' mean scores over common seeds, with its interval.

        Args:
            terms: the labels, each with the score of each seed and with its weight.
            name: what the score is called.

        Returns:
            The sum; None without a common seed.
        """
        seeds = common_seeds([scores for _, scores, _ in terms])
        if not seeds:
            return None
        sums = [sum(weight * scores[seed] for _, scores, weight in terms) for seed in seeds]
        drawn = self.weighted_draws([(label, weight) for label, _, weight in terms], seeds, name)
        return PairedDifference(mean_interval(sums, drawn, overlap=self.overlap), seeds)

    def weighted_draws(
        self, terms: Sequence[tuple[str, float]], seeds: Sequence[int], name: str = "score"
    ) -> DrawnScores | None:
        """Return a weighted sum of labels' scores of each seed, on images that are drawn again.

        Args:
            terms: the labels, each with its weight.
            seeds: the seeds.
            name: what the score is called.

        Returns:
            A column a seed; None unless all these trials have the score on the same images.
        """
        trials = [(label, seed) for label, _ in terms for seed in seeds]
        if not all(name in self.scores.get(trial, {}) for trial in trials):
            return None
        if len({self.images[trial] for trial in trials}) != 1:
            return None
        columns = []
        for seed in seeds:
            rescored = [(self.scores[label, seed][name], weight) for label, weight in terms]
            columns.append(_weighted(rescored))
        df = min(self.scores[trial][name].df for trial in trials)
        return DrawnScores(np.stack(columns, axis=1), df)

    def interval(
        self, label: str, seeds: Sequence[int], name: str = "score", *, less: str | None = None
    ) -> Interval | None:
        """Return the percentile interval, over test images alone, of a mean or a difference.

        Args:
            label: the label of the trials.
            seeds: their seeds.
            name: what the score is called.
            less: a label whose mean over the same seeds is subtracted.

        Returns:
            The interval; None unless all these trials have the score on the same images.
        """
        others = [] if less is None else [(less, -1)]
        drawn = self.weighted_draws([(label, 1), *others], seeds, name)
        if drawn is None:
            return None
        ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        low, high = np.quantile(drawn.scores.mean(axis=1), ends)
        return Interval(float(low), float(high))


SEEDS_ALONE = Resampled({}, {})
"""Without predictions: all intervals are over seeds alone."""


def _weighted(terms: Sequence[tuple[Rescored, float]]) -> np.ndarray:
    """Return a weighted sum of scores on each set; a single one stands alone."""
    if len(terms) == 1:
        rescored, weight = terms[0]
        return weight * rescored.alone
    total = np.zeros_like(terms[0][0].alone)
    for rescored, weight in terms:
        total += weight * (rescored.added if weight > 0 else rescored.subtracted)
    return total


def resample(
    tested: Iterable[TrialResult],
    protocol: Protocol,
    *,
    overlap: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Resampled:
    """Score trials on test images that are drawn again with replacement.

    Each part of the test images is drawn apart, and each of its classes where the protocol averages
    over classes.

    Args:
        tested: trials, of which those without `outcomes` are left out.
        protocol: the protocol, which makes a score of accuracies.
        overlap: see `Resampled.overlap`.
        draws: how many sets of images are drawn.
        seed: the seed of the draws.
    """
    outcomes = {(t.label, t.seed): t.outcomes for t in tested if t.outcomes is not None}
    scores: RescoredTrials = {}
    single = False
    for images in dict.fromkeys(own.images for own in outcomes.values()):
        alike = {trial: own for trial, own in outcomes.items() if own.images == images}
        whole = rescore(alike, protocol, draws, seed)
        balanced = rescore(alike, protocol, draws, seed, balanced=True)
        beside = rescore_competitions(alike, protocol, draws, seed)
        compete = any(own.competing for own in alike.values())
        single = single or not whole or (compete and not beside)
        for trial in alike:
            scores[trial] = {**whole.get(trial, {}), **beside.get(trial, {})}
            if trial in balanced:
                scores[trial][BALANCED] = balanced[trial]["score"]
    images_of = {trial: own.images for trial, own in outcomes.items()}
    return Resampled(images_of, scores, overlap, single)
