"""The statistics of scores: means over seeds with intervals, differences, and their tests.

Scores are fractions. A study has few seeds, and all of them are tested on the same images. So a
mean over seeds varies for two reasons: other training images and another order of training, and
other test images.

- A is the variance of the mean over seeds, s²/n. It contains what each seed does on each image.
- B is the variance of the mean over test images, by a bootstrap. It contains that as well.
- C is what both contain, estimated from the same bootstrap. A is at least C: seeds that agree by
  chance, as two often do on few images, would else be taken for sure.

The interval has the variance V = max(A, A + B − C) and Satterthwaite's degrees of freedom. It is
never narrower than the t interval over seeds alone, which is the wider one where there are few
seeds and many images. `README.md` beside this file has the reasons.

Sources: Satterthwaite 1946, “An Approximate Distribution of Estimates of Variance Components”;
Nadeau and Bengio 2003, “Inference for the Generalization Error”, for seeds that share their images.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from scipy import special

from study.results.bootstrap import DrawnScores, ResampledTests, resample_recalls
from study.results.trial_results import TrialResult, seed_scores
from study.trial.predictions import Stratum

SIGNIFICANCE = 0.05
"""The largest Holm-corrected p of a significant difference; intervals leave out as much."""
MOST_OVERLAP = 0.6
"""Up to this share of common training images, seeds stand for other labelled images as well."""
_ROUNDING = 1e-12
"""In float64, differences of fractions k/n that are mathematically equal differ by less."""

Key = TypeVar("Key")
"""What names a difference, such as a label."""
Finding = Literal["significant", "uncorrected", "not significant", "not tested"]
"""How sure a difference is; "uncorrected" is significant by its own interval, not after Holm's."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    """The lower end."""
    high: float
    """The upper end."""


class Error(NamedTuple):
    """The variance of a mean, with the degrees of freedom of its estimate."""

    variance: float
    df: float

    @property
    def margin(self) -> float:
        """The margin of error: the distance from the mean to the ends of its t interval."""
        return float(special.stdtrit(self.df, 1 - SIGNIFICANCE / 2)) * math.sqrt(self.variance)

    def p_value(self, mean: float) -> float:
        """Return the two-sided p of a true mean of 0; the variance is not 0."""
        return float(2 * special.stdtr(self.df, -abs(mean) / math.sqrt(self.variance)))


@dataclass(frozen=True)
class MeanInterval:
    """A mean over seeds and its interval."""

    n: int
    """The number of values."""
    mean: float
    """The mean of the values."""
    sd: float | None
    """The sample standard deviation (divisor n - 1); None for a single value."""
    low: float | None
    """The lower end of the interval; None where there is no interval."""
    high: float | None
    """The upper end of the interval; None where there is no interval."""
    p_value: float | None = None
    """The two-sided p of a mean of 0, by `deciding`; None where nothing can be tested."""
    holm_p: float | None = None
    """The p after Holm's correction, of a difference that is tested together with others."""
    images: Interval | None = None
    """The part over test images alone; None where no predictions were kept."""
    wider: Interval | None = None
    """The interval for other labelled images, where seeds share many; else None."""

    @property
    def interval(self) -> Interval | None:
        """Both ends of the interval; None where there is no interval."""
        return None if self.low is None or self.high is None else Interval(self.low, self.high)

    @property
    def deciding(self) -> Interval | None:
        """The interval that decides what is significant: `wider`, if seeds share many images."""
        return self.wider or self.interval

    @property
    def finding(self) -> Finding:
        """How sure a difference is, by its interval and after Holm's correction."""
        if self.p_value is None or self.holm_p is None:
            return "not tested"
        if self.p_value > SIGNIFICANCE:
            return "not significant"
        return "significant" if self.holm_p <= SIGNIFICANCE else "uncorrected"


Intervals = Mapping[str, MeanInterval]
"""Means with their intervals, by the names of what they are of."""


def mean_interval(
    values: Sequence[float],
    drawn: DrawnScores | None = None,
    *,
    overlap: float | None = None,
    trained: bool = True,
    bounded: bool = False,
) -> MeanInterval:
    """Return the mean of `values` and its interval over seeds and test images.

    Args:
        values: a score, or a difference of two, of each seed.
        drawn: the same on resampled test images, a column a value. Without it, the
            interval leaves out test images.
        overlap: the mean share of training images that two of the seeds have in common. None means
            that it is not known, and counts as 0.
        trained: whether anything is trained; otherwise the seed has no effect.
        bounded: whether values are within 0 and 1, where an interval ends.

    Returns:
        The mean and its interval. A single seed has no interval, unless nothing is trained. Where
        all seeds have the same training images, the interval is over test images alone, and nothing
        is tested.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"values are {list(values)}; expected one or more finite numbers")
    # Seeds with equally many right images in all have equal means; rounding makes them equal here.
    mean = round(float(np.mean(values)), 9)
    n = len(values)
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    over_images = _image_errors(drawn)
    joint = [] if n == 1 and trained else _joint_errors(sd, drawn, n)
    # The errors that decide what is significant, and p.
    deciding = joint
    wider: list[Error] = []
    if overlap is not None and trained and n > 1:
        if overlap >= 1:
            joint = over_images
            deciding = []
        elif overlap > MOST_OVERLAP:
            wider = _joint_errors(sd, drawn, n, overlap)
            deciding = wider

    def around(errors: Sequence[Error]) -> Interval | None:
        if not errors:
            return None
        margin = max(error.margin for error in errors)
        if bounded:
            return Interval(max(0.0, mean - margin), min(1.0, mean + margin))
        return Interval(mean - margin, mean + margin)

    low, high = around(joint) or (None, None)
    return MeanInterval(
        n,
        mean,
        sd,
        low=low,
        high=high,
        p_value=max((error.p_value(mean) for error in deciding), default=None),
        images=around(over_images),
        wider=around(wider),
    )


def _joint_errors(
    sd: float | None, drawn: DrawnScores | None, n: int, overlap: float = 0.0
) -> list[Error]:
    """Return the errors of a mean over seeds and images, whose widest interval is its interval.

    They are those with the variances A and V, or that with B if the spread of seeds is not known,
    or is 0. With an overlap, the share of training images that seeds have in common, A is that for
    other labelled images.
    """
    over_images, common = _image_errors(drawn), _common_variance(drawn)
    variance = 0.0 if sd is None else max(sd**2, n * common)
    if variance < _ROUNDING**2:
        return over_images
    a = Error(variance * (1 / n + overlap / (1 - overlap)), n - 1)
    if not over_images:
        return [a]
    (b,) = over_images
    both = max(a.variance, a.variance + b.variance - common)
    df = both**2 / (a.variance**2 / a.df + b.variance**2 / b.df)
    return [a, Error(both, df)]


def _image_errors(drawn: DrawnScores | None) -> list[Error]:
    """Return the error whose variance is B; empty where no predictions were kept."""
    if drawn is None:
        return []
    return [Error(float(np.var(drawn.scores.mean(axis=1))), drawn.df)]


def _common_variance(drawn: DrawnScores | None) -> float:
    """Return C, the part of the variance of the mean that A and B both contain; 0 if not known.

    On the same images, scores of single seeds vary by what is common to the seeds and by a rest,
    and their mean by what is common and by the rest over the number of seeds, which is C. For
    accuracies that is the residual mean square of the table of seeds and images, over its number of
    cells.
    """
    if drawn is None or drawn.scores.shape[1] == 1:
        return 0.0
    residuals = drawn.scores - drawn.scores.mean(axis=1, keepdims=True)
    return float(np.var(residuals, axis=0).mean() / (drawn.scores.shape[1] - 1))


def mean_intervals(
    resampled: ResampledTests,
    trials: Sequence[TrialResult],
    names: Iterable[str],
) -> Intervals:
    """Return the means of several scores of one configuration, with intervals within 0 and 1.

    Scores that no trial has are left out.

    Args:
        resampled: the trials of the study on resampled test images.
        trials: the trials of the configuration, one a seed.
        names: the names of the scores.
    """
    intervals = {}
    for name in names:
        scores = seed_scores(trials, name)
        if scores:
            first = trials[0]
            has_linear_head = "linear" in (first.settings.head, name.removeprefix("score_"))
            intervals[name] = mean_interval(
                list(scores.values()),
                resampled.drawn(first.label, None, scores, name),
                overlap=resampled.overlap,
                trained=first.trainable > 0 or has_linear_head,
                bounded=True,
            )
    return intervals


def difference(
    resampled: ResampledTests, trials: Sequence[TrialResult], base: Sequence[TrialResult]
) -> MeanInterval | None:
    """Return the mean score of one configuration less that of another, with its interval.

    Args:
        resampled: the trials of the study on resampled test images.
        trials: the trials of the configuration, one a seed.
        base: the trials of the configuration that is subtracted.

    Returns:
        The difference over common seeds; None without one.
    """
    scores, less = seed_scores(trials), seed_scores(base)
    seeds = sorted(scores.keys() & less.keys())
    if not seeds:
        return None
    drawn = resampled.drawn(trials[0].label, base[0].label, seeds)
    return mean_interval([scores[s] - less[s] for s in seeds], drawn, overlap=resampled.overlap)


def recall_intervals(
    trials: Sequence[TrialResult], overlap: float | None = None
) -> dict[Stratum, MeanInterval]:
    """Return the mean recall of each class by one configuration, with its interval.

    Args:
        trials: the trials of the configuration, one a seed; those without `outcomes` are left out.
        overlap: see `ResampledTests.overlap`.

    Returns:
        The means by part and class. A class with a single image or group is left out; empty unless
        all trials were tested on the same images.
    """
    outcomes = {}
    for trial in trials:
        head = trial.settings.head
        if head and head in trial.outcomes:
            outcomes[trial.label, trial.seed, head] = trial.outcomes[head]
    if len({outcome.images for outcome in outcomes.values()}) != 1:
        return {}
    intervals, first = {}, trials[0]
    for stratum, drawn in resample_recalls(outcomes).items():
        intervals[stratum] = mean_interval(
            [float(np.mean(outcome.right[stratum])) for outcome in outcomes.values()],
            drawn,
            overlap=overlap,
            trained=first.trainable > 0 or first.settings.head == "linear",
            bounded=True,
        )
    return intervals


def make_comparisons(differences: Mapping[Key, MeanInterval | None]) -> dict[Key, MeanInterval]:
    """Return differences with their p values, corrected for their number by Holm's method.

    What could not be compared, and has no difference, is left out. What could not be tested, and
    has no p, does not count.
    """
    compared = {key: difference for key, difference in differences.items() if difference}
    tests = [(d.p_value, label) for label, d in compared.items() if d.p_value is not None]
    largest = 0.0
    for rank, (p_value, label) in enumerate(sorted(tests)):
        largest = max(largest, min(1.0, p_value * (len(tests) - rank)))
        compared[label] = replace(compared[label], holm_p=largest)
    return compared
