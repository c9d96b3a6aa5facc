"""How scores would vary over other test images, and with that the intervals of a study."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from study.protocols import Protocol
from study.results.bootstrap import (
    Rescored,
    Trial,
    resample_recalls,
    rescore,
    rescore_competitions,
)
from study.results.chance import BALANCED
from study.results.intervals import DrawnScores, Intervals, MeanInterval, mean_interval
from study.results.statistics import SeedScores, common_seeds
from study.results.trial_results import TrialResult, seed_scores
from study.trial.predictions import Stratum
from study.trial.study import Split


class Resampled(NamedTuple):
    """The scores of trials on resampled test images.

    Trials that were tested on the same images are scored on the same sets of them. All intervals of
    a study are computed here, so that they agree with each other.
    """

    images: Mapping[Trial, str]
    """The hash of the images that a trial was tested on, by its label and seed."""
    scores: Mapping[Trial, Mapping[str, Rescored]]
    """What the protocol returns of the accuracies, by label and seed, and by name."""
    overlap: float | None = None
    """The mean share of training images that two seeds have in common; None if it is not known."""
    single_image_class: bool = False
    """Whether a class has a single image, so that averages over classes have no variance."""

    def mean_intervals(
        self, trials: Sequence[TrialResult], names: Iterable[str], split: Split = "test"
    ) -> Intervals:
        """Return the means of several scores of one candidate, with intervals within 0 and 1.

        Scores that no trial has are left out.

        Args:
            trials: the trials of the candidate, one a seed.
            names: the names of the scores.
            split: the images that the scores were measured on.
        """
        intervals = {}
        for name in names:
            scores = seed_scores(trials, name, split)
            if scores:
                first = trials[0]
                intervals[name] = mean_interval(
                    list(scores.values()),
                    self.weighted_draws([(first.label, 1)], tuple(scores), name),
                    overlap=self.overlap,
                    trained=first.trainable > 0 or first.settings.head == "linear",
                    lowest=0.0,
                    highest=1.0,
                )
        return intervals

    def weighted_sum(
        self, terms: Sequence[tuple[str, SeedScores, float]], name: str = "score"
    ) -> MeanInterval | None:
        """Return a weighted sum of labels' mean scores over common seeds, with its interval.

        Args:
            terms: the labels, each with the score of each seed and with its weight.
            name: the name of the score.

        Returns:
            The sum; None without a common seed.
        """
        seeds = common_seeds([scores for _, scores, _ in terms])
        if not seeds:
            return None
        sums = []
        for seed in seeds:
            sums.append(sum(weight * scores[seed] for _, scores, weight in terms))
        weights = [(label, weight) for label, _, weight in terms]
        return mean_interval(sums, self.weighted_draws(weights, seeds, name), overlap=self.overlap)

    def weighted_draws(
        self, terms: Sequence[tuple[str, float]], seeds: Sequence[int], name: str = "score"
    ) -> DrawnScores | None:
        """Return a weighted sum of labels' scores of each seed, on resampled test images.

        Args:
            terms: the labels, each with its weight.
            seeds: the seeds.
            name: the name of the score.

        Returns:
            A column a seed; None unless all these trials have the score on the same images.
        """
        columns = []
        df = []
        images = set()
        for seed in seeds:
            column = np.zeros(())
            for label, weight in terms:
                rescored = self.scores.get((label, seed), {}).get(name)
                if not rescored:
                    return None
                scores = rescored.alone
                if len(terms) > 1:
                    scores = rescored.side(weight)
                column = column + weight * scores
                df.append(rescored.df)
                images.add(self.images[label, seed])
            columns.append(column)
        if len(images) != 1:
            return None
        return DrawnScores(np.stack(columns, axis=1), min(df))


def resample(
    tested: Iterable[TrialResult],
    protocol: Protocol,
    *,
    overlap: float | None = None,
) -> Resampled:
    """Score trials on sets of their test images that are drawn with replacement.

    Each part of the test images is drawn by itself, as is each class if the protocol averages over
    classes.

    Args:
        tested: trials; those without `outcomes` are left out.
        protocol: the protocol, which makes a score of accuracies.
        overlap: see `Resampled.overlap`.
    """
    outcomes = {(t.label, t.seed): t.outcomes for t in tested if t.outcomes}
    scores = {}
    single_image_class = False
    for images in dict.fromkeys(outcome.images for outcome in outcomes.values()):
        on_images = {t: outcome for t, outcome in outcomes.items() if outcome.images == images}
        plain = rescore(on_images, protocol)
        balanced = rescore(on_images, protocol, balanced=True)
        competitions = rescore_competitions(on_images, protocol)
        compete = any(outcome.competing for outcome in on_images.values())
        if not plain or not balanced or (compete and not competitions):
            single_image_class = True
        for trial in on_images:
            scores[trial] = plain.get(trial, {}) | competitions.get(trial, {})
            if trial in balanced:
                scores[trial][BALANCED] = balanced[trial]["score"]
    images_of = {trial: outcome.images for trial, outcome in outcomes.items()}
    return Resampled(images_of, scores, overlap, single_image_class)


def recall_intervals(
    trials: Iterable[TrialResult], overlap: float | None = None
) -> dict[Stratum, MeanInterval]:
    """Return the mean accuracy of one candidate on each class, with its interval.

    Args:
        trials: the trials of the candidate, one a seed; those without `outcomes` are left out.
        overlap: see `Resampled.overlap`.

    Returns:
        The means by part and class. A class with a single image or group is left out; empty unless
        all trials were tested on the same images.
    """
    tested = [trial for trial in trials if trial.outcomes]
    outcomes = {(t.label, t.seed): t.outcomes for t in tested if t.outcomes}
    if len({outcome.images for outcome in outcomes.values()}) != 1:
        return {}
    intervals = {}
    for stratum, drawn in resample_recalls(outcomes).items():
        intervals[stratum] = mean_interval(
            [float(np.mean(outcome.right[stratum])) for outcome in outcomes.values()],
            drawn,
            overlap=overlap,
            trained=tested[0].trainable > 0,
            lowest=0.0,
            highest=1.0,
        )
    return intervals
