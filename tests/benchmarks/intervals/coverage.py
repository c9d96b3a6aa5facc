"""Do the printed 95 % intervals cover the truth, also where classes and groups are unequal?

    python tests/benchmarks/intervals/coverage.py [--studies 300]

Simulated studies go through the functions that every table and verdict comes from
(`study.results.statistics`). An image is right if a normal number is positive. The number is the
sum of what is common to the image or its group, to the seed, to the seed and the class, and of a
rest, so that the true accuracy is known. Two candidates are tested on the same images: they share
what is common to an image, and nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from study.config.trial_settings import TrialSettings
from study.protocols import FewShot, Generalized, Protocol
from study.results import bootstrap
from study.results.bootstrap import ResampledTests, resample_tests
from study.results.statistics import (
    MeanInterval,
    difference,
    make_comparisons,
    mean_intervals,
    recall_intervals,
)
from study.results.trial_results import TrialResult
from study.trial.predictions import Outcomes, Stratum
from tests.benchmarks.measuring import machine, table

Array = np.ndarray
DRAWS = 400
"""Sets of test images that are drawn again; the product draws 2,000."""
IMAGE = 0.7
"""The variance of what is common to an image, of 1 in all."""
OF_GROUP = 0.9
"""The part of an image's variance that it shares with its group."""
HIGHER = 0.3
"""By how much the normal number of the better candidate is higher."""


SETTINGS = TrialSettings(subset="vision.ln", head="text")


class Case(NamedTuple):
    """The test images of a study, and how they are scored."""

    name: str
    classes: Sequence[Sequence[int]]
    """The sizes of the groups of each class."""
    balanced: bool = False
    accuracy: float = 0.9
    seeds: int = 3
    of_seed: float = 0.01
    """The variance of what is common to a seed, and half of it to a seed and a class."""
    generalized: bool = False
    """Whether half of the classes are new, so that the score is H."""

    @property
    def protocol(self) -> Protocol:
        """The protocol that scores accuracies."""
        if self.generalized:
            return Generalized()
        return FewShot().balanced() if self.balanced else FewShot()


def singles(*sizes: int) -> list[list[int]]:
    """Return classes of so many images without groups."""
    return [[1] * size for size in sizes]


LONG_TAIL = (200, 120, 72, 43, 26, 15, 9, 6, 3, 2)
CASES = [
    Case("10 classes of 30", singles(*[30] * 10), balanced=True),
    Case("classes of 300 and 5", singles(300, 5), balanced=True),
    Case("classes of 300 and 5, 70 %", singles(300, 5), balanced=True, accuracy=0.7),
    Case("classes of 190 and 10", singles(190, 10), balanced=True),
    Case("classes of 200, 120, 72, … 2", singles(*LONG_TAIL), balanced=True),
    Case("40 groups of 5", [[5] * 40]),
    Case("5 groups of 40, 100 of 1", [[40] * 5 + [1] * 100]),
    Case("5 groups of 40, 100 of 1, 70 %", [[40] * 5 + [1] * 100], accuracy=0.7),
    Case("1 group of 100, 50 of 2", [[100] + [2] * 50]),
    Case("2 classes: 3 groups of 20, 40 of 1", [[20] * 3 + [1] * 40] * 2, balanced=True),
    Case("H, 6 classes of 30", singles(*[30] * 6), generalized=True),
    Case("H, 6 classes of 6 groups of 10", [[10] * 6] * 6, generalized=True),
    Case("H, 6 classes: 2 groups of 20, 20 of 1", [[20] * 2 + [1] * 20] * 6, generalized=True),
]
TIES = [
    Case("2 seeds, 60 images", singles(60), seeds=2),
    Case("2 seeds, 300 images", singles(300), seeds=2),
    Case("3 seeds, 60 images", singles(60), seeds=3),
    Case("3 seeds, 300 images", singles(300), seeds=3),
]
RECALLS = [
    Case("90 images, 3 seeds", singles(90), of_seed=0.07),
    Case("300 images, 3 seeds", singles(300), of_seed=0.07),
    Case("5 images, 3 seeds", singles(5), of_seed=0.07),
]


def draw_right(
    case: Case, shifts: Sequence[float], studies: int, rng: np.random.Generator
) -> Array:
    """Return what candidates are right on, ``(studies, candidates, seeds, images)``.

    Args:
        case: the test images.
        shifts: what is added to the normal number of each candidate.
        studies: how many studies are drawn.
        rng: the generator that draws.
    """
    trials = (studies, len(shifts), case.seeds)
    classes = []
    for sizes in case.classes:
        of_group = np.repeat(rng.normal(size=(studies, len(sizes))), sizes, axis=1)
        own = rng.normal(size=(studies, sum(sizes)))
        image = OF_GROUP**0.5 * of_group + (1 - OF_GROUP) ** 0.5 * own
        of_class = (case.of_seed / 2) ** 0.5 * rng.normal(size=(*trials, 1))
        rest = (1 - IMAGE - case.of_seed) ** 0.5 * rng.normal(size=(*trials, sum(sizes)))
        classes.append(IMAGE**0.5 * image[:, None, None] + of_class + rest)
    of_seed = (case.of_seed / 2) ** 0.5 * rng.normal(size=(*trials, 1))
    level = norm.ppf(case.accuracy) + np.array(shifts)[:, None, None]
    right: Array = np.concatenate(classes, axis=3) + of_seed + level > 0
    return right


def make_trials(case: Case, right: Array) -> list[list[TrialResult]]:
    """Return the tested trials of each candidate, one a seed."""
    strata: list[Stratum] = []
    groups: dict[Stratum, list[str]] = {}
    for number, sizes in enumerate(case.classes):
        part = ("base", "new")[number % 2] if case.generalized else "accuracy"
        strata.append((part, f"{number:02}"))
        if max(sizes) > 1:
            names = np.repeat(np.arange(len(sizes)), sizes)
            groups[strata[-1]] = [f"{number} {name}" for name in names]
    ends = np.cumsum([sum(sizes) for sizes in case.classes])[:-1]
    trials = []
    for number, of_seeds in enumerate(right):
        own = []
        for seed, hits in enumerate(of_seeds):
            classes: dict[Stratum, Any] = dict(zip(strata, np.split(hits, ends), strict=True))
            fields: dict[str, Any] = {
                "label": str(number),
                "seed": seed,
                "trainable": 1,
                "settings": SETTINGS,
                "outcomes": {"text": Outcomes("test", classes, groups)},
                "test": {"score": score_of(case, classes)},
            }
            own.append(TrialResult.model_construct(**fields))
        trials.append(own)
    return trials


def score_of(case: Case, classes: dict[Stratum, Array]) -> float:
    """Return the score of what a trial is right on."""
    recalls = np.array([hits.mean() for hits in classes.values()])
    if case.generalized:
        base, new = recalls[::2].mean(), recalls[1::2].mean()
        return float(2 * base * new / (base + new))
    if case.balanced:
        return float(recalls.mean())
    return float(np.concatenate(list(classes.values())).mean())


def compare(
    case: Case, resampled: ResampledTests, one: Sequence[TrialResult], other: Sequence[TrialResult]
) -> MeanInterval:
    """Return the difference of two candidates."""
    found = difference(resampled, one, other)
    assert found
    return found


def covers(interval: MeanInterval, truth: float) -> bool:
    """Return whether an interval has a true value in it."""
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


def coverage(case: Case, studies: int, rng: np.random.Generator) -> Iterator[list[bool]]:
    """Yield of each study whether intervals cover: a score, and two differences."""
    better = float(norm.cdf(norm.ppf(case.accuracy) + HIGHER))
    for right in draw_right(case, (0, 0, HIGHER), studies, rng):
        base, equal, higher = make_trials(case, right)
        resampled = resample_tests([*base, *equal, *higher], case.protocol)
        score = mean_intervals(resampled, base, ["score"])["score"]
        yield [
            covers(score, case.accuracy),
            covers(compare(case, resampled, equal, base), 0.0),
            covers(compare(case, resampled, higher, base), better - case.accuracy),
        ]


def ties(case: Case, studies: int, rng: np.random.Generator) -> Iterator[list[bool]]:
    """Yield whether an equal pair with the same difference in all seeds, not 0, is significant."""
    found = 0
    while found < studies:
        drawn = draw_right(case, (0, 0), 1000, rng)
        counts = drawn.sum(axis=3)
        differences = counts[:, 0] - counts[:, 1]
        tied = (differences == differences[:, :1]).all(axis=1) & (differences[:, 0] != 0)
        for right in drawn[tied][: studies - found]:
            found += 1
            one, other = make_trials(case, right)
            resampled = resample_tests([*one, *other], case.protocol)
            found_difference = compare(case, resampled, one, other)
            yield [make_comparisons({"only": found_difference})["only"].finding == "significant"]


def recalls(case: Case, studies: int, rng: np.random.Generator) -> Iterator[list[bool]]:
    """Yield whether the interval of a class's mean recall covers it."""
    for right in draw_right(case, (0,), studies, rng):
        (trials,) = make_trials(case, right)
        (interval,) = recall_intervals(trials).values()
        yield [covers(interval, case.accuracy)]


def shares(rows: Iterator[list[bool]]) -> list[str]:
    """Return the share of each column in percent."""
    return [f"{100 * share:.1f}" for share in np.mean(list(rows), axis=0)]


def main() -> None:
    """Count every case, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=300)
    studies, began = parser.parse_args().studies, time.monotonic()
    bootstrap.DRAWS = DRAWS
    print(machine(), flush=True)
    blocks = [
        ("Covered, %", coverage, CASES, ["score", "difference 0", "a difference"]),
        ("Equal pairs with one difference in all seeds", ties, TIES, ["significant, %"]),
        ("Recall of a class, whose seeds differ by 4.6 points", recalls, RECALLS, ["covered, %"]),
    ]
    for block, (title, count, cases, header) in enumerate(blocks):
        rows = []
        for number, case in enumerate(cases):
            rng = np.random.default_rng([block, number])
            rows.append([case.name, *shares(count(case, studies, rng))])
        print(table(title, ["", *header], rows), flush=True)
    print(f"{studies} studies a case, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
