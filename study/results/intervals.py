"""The 95 % interval of a score, or of a difference of scores, over seeds and test images together.

Scores are fractions. A study has few seeds, and all of them are tested on the same images. So a
mean over seeds varies for two reasons: other training images and another order of training, and
other test images.

- A is the variance of the mean over seeds, s²/n. It contains what each seed does on each image.
- B is the variance of the mean over test images, by a bootstrap. It contains that as well.
- C is what both contain, estimated from the same bootstrap. A is at least C: seeds that agree by
  chance, as two often do on few images, would else be taken for sure.

The interval has the variance V = max(A, A + B − C) and Satterthwaite's degrees of freedom. It is
never narrower than the t interval over seeds alone, which is the wider one where there are few
seeds and many images.

Sources: Satterthwaite 1946, “An Approximate Distribution of Estimates of Variance Components”;
Nadeau and Bengio 2003, “Inference for the Generalization Error”, for seeds that share their images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
"""The largest Holm-corrected p that counts as more than noise."""
MOST_OVERLAP = 0.6
"""Up to this share of common training images, seeds stand for other labelled images as well."""

# In float64, differences of fractions k/n that are mathematically equal differ by less than this.
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    """The lower end."""
    high: float
    """The upper end."""


class DrawnScores(NamedTuple):
    """The scores of several seeds on sets of resampled test images."""

    scores: np.ndarray
    """The score, or the difference of two, on each set, ``(draws, seeds)`` float64."""
    df: float
    """The degrees of freedom of their variance."""


class Error(NamedTuple):
    """The variance of a mean, with the degrees of freedom of its estimate."""

    variance: float
    df: float

    def reach(self, tests: int = 1) -> float:
        """Return the distance from the mean to the ends of its t interval.

        Args:
            tests: how many means have intervals, all of which are to cover (Bonferroni).
        """
        quantile = float(special.stdtrit(self.df, 1 - (1 - CONFIDENCE) / (2 * tests)))
        return quantile * math.sqrt(self.variance)

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
    errors: Sequence[Error] = ()
    """The errors of the mean, of which that of the widest interval decides verdicts.

    Empty where nothing can be tested.
    """
    p_value: float | None = None
    """The two-sided p of a mean of 0, by the widest interval; None where nothing can be tested."""
    holm_p: float | None = None
    """The p after Holm's correction, of a difference that is tested together with others."""
    tests: int = 1
    """The number of differences that are tested together."""
    seeds: Interval | None = None
    """The part over seeds alone: the t interval of A, for the same test images."""
    images: Interval | None = None
    """The part over test images alone; None where no predictions were kept."""
    wider: Interval | None = None
    """The interval for other labelled images, where seeds share many; else None."""

    @property
    def reach(self) -> float | None:
        """The distance from the mean to the ends of the widest interval, which decides verdicts.

        None where nothing can be tested.
        """
        return _reach(self.errors)

    @property
    def detectable(self) -> float | None:
        """The true difference that is found in about half of the studies that are like this one.

        It counts as found where p is small enough for the first of Holm's tests. None where nothing
        can be tested.
        """
        return _reach(self.errors, self.tests)

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    @property
    def symmetric(self) -> bool:
        """Whether the mean is in the middle of the interval."""
        if self.low is None or self.high is None:
            return False
        return abs(self.low + self.high - 2 * self.mean) < _ROUNDING

    @property
    def within_noise(self) -> bool:
        """Whether the widest interval contains 0, or nothing could be tested."""
        return self.p_value is None or self.reach is None or abs(self.mean) <= self.reach


Intervals = Mapping[str, MeanInterval]
"""Means with their intervals, by the names of what they are of."""


def mean_interval(
    values: Sequence[float],
    drawn: DrawnScores | None = None,
    *,
    overlap: float | None = None,
    trained: bool = True,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> MeanInterval:
    """Return the mean of `values` and its interval over seeds and test images.

    Args:
        values: a score, or a difference of two, of each seed.
        drawn: the same on resampled test images, a column a value. Without it, the
            interval leaves out test images.
        overlap: the mean share of training images that two of the seeds have in common. None means
            that it is not known, and counts as 0.
        trained: whether anything is trained; otherwise the seed has no effect.
        lowest: the least possible value, where an interval ends.
        highest: the largest possible value, where an interval ends.

    Returns:
        The mean and its interval. A single seed has no interval, unless nothing is trained. Where
        all seeds have the same training images, the interval is over test images alone, and nothing
        is tested.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"values: expected at least one finite number, got {list(values)}")
    # Seeds with equally many right images in all have equal means; rounding makes them equal here.
    mean = round(float(np.mean(values)), 9)
    n = len(values)
    sd = None
    if n > 1:
        sd = float(np.std(values, ddof=1))
    over_seeds = _seed_errors(sd, drawn, n)
    over_images = _image_errors(drawn)
    joint = _joint_errors(over_seeds, drawn, n, trained)
    # The errors that verdicts and p are based on.
    deciding = joint
    wider: list[Error] = []
    if overlap is not None and trained and n > 1:
        if overlap >= 1:
            joint = over_images
            deciding = []
        elif overlap > MOST_OVERLAP:
            wider = _joint_errors(_seed_errors(sd, drawn, n, overlap), drawn, n, trained)
            deciding = wider

    def around(errors: Sequence[Error]) -> Interval | None:
        reach = _reach(errors)
        if reach is None:
            return None
        return Interval(max(lowest, mean - reach), min(highest, mean + reach))

    low, high = around(joint) or (None, None)
    return MeanInterval(
        n,
        mean,
        sd,
        low=low,
        high=high,
        errors=tuple(deciding),
        p_value=max((error.p_value(mean) for error in deciding), default=None),
        seeds=around(over_seeds),
        images=around(over_images),
        wider=around(wider),
    )


def _reach(errors: Sequence[Error], tests: int = 1) -> float | None:
    """Return the distance to the ends of the widest interval; None without errors."""
    return max((error.reach(tests) for error in errors), default=None)


def _seed_errors(
    sd: float | None, drawn: DrawnScores | None, n: int, overlap: float = 0.0
) -> list[Error]:
    """Return the error whose variance is A; empty if a spread of seeds is not known, or is 0.

    With an overlap, the share of training images that seeds have in common, A is that for other
    labelled images.
    """
    if sd is None:
        return []
    variance = max(sd**2, n * _common_variance(drawn))
    if variance < _ROUNDING**2:
        return []
    return [Error(variance * (1 / n + overlap / (1 - overlap)), n - 1)]


def _image_errors(drawn: DrawnScores | None) -> list[Error]:
    """Return the error whose variance is B; empty where no predictions were kept."""
    if drawn is None:
        return []
    return [Error(float(np.var(drawn.scores.mean(axis=1))), drawn.df)]


def _joint_errors(
    over_seeds: list[Error], drawn: DrawnScores | None, n: int, trained: bool
) -> list[Error]:
    """Return the errors of a mean over seeds and images, whose widest interval is its interval.

    Empty if the mean has no interval.
    """
    if n == 1 and trained:
        return []
    over_images = _image_errors(drawn)
    if not over_seeds or drawn is None:
        return over_seeds + over_images
    a = over_seeds[0].variance
    b = over_images[0].variance
    both = max(a, a + b - _common_variance(drawn))
    df = both**2 / (a**2 / over_seeds[0].df + b**2 / over_images[0].df)
    return [*over_seeds, Error(both, df)]


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
