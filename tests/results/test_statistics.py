"""Scores have one interval over seeds and test images, and differences are tested together.

Known data give the numbers that scipy and statsmodels give.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from study.config.trial_settings import Head, TrialSettings
from study.protocols import FewShot
from study.results.bootstrap import DrawnScores, ResampledTests, resample_tests
from study.results.statistics import (
    MeanInterval,
    make_comparisons,
    mean_interval,
    mean_intervals,
    recall_intervals,
)
from study.results.trial_results import TrialResult
from study.trial.predictions import outcomes_of
from study.trial.study import Prediction
from tests.not_none import not_none
from tests.results.conftest import partial_result

# Sleep gained under a drug by ten patients (Student, 1908).
SLEEP = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)


def adjusted(*p_values: float | None) -> list[float | None]:
    """The p values of differences after the correction, in their order."""
    differences: dict[str, MeanInterval | None] = {}
    for number, p_value in enumerate(p_values):
        differences[f"{number}"] = MeanInterval(5, 0.1, 0.1, 0.0, 0.2, p_value=p_value)
    return [difference.holm_p for difference in make_comparisons(differences).values()]


def test_holm_is_that_of_statsmodels():
    p_values = np.random.default_rng(1).uniform(0, 0.2, size=8).tolist()
    assert adjusted(*p_values) == pytest.approx(tuple(multipletests(p_values, method="holm")[1]))
    assert adjusted(0.01, None, 0.04) == pytest.approx([0.02, None, 0.04]), "None is not tested"
    assert make_comparisons({"not compared": None}) == {}


RNG = np.random.default_rng(7)
# What five seeds are right on: most images are right or wrong with all of them.
RIGHT = (RNG.random(400) < 0.8)[:, None] ^ (RNG.random((400, 5)) < 0.1)


@cache
def counts() -> np.ndarray:
    """How often each of 20,000 sets has each of 400 images."""
    return np.random.default_rng(1).multinomial(400, np.full(400, 1 / 400), size=20_000)


def redrawn(values: np.ndarray) -> DrawnScores:
    """A bootstrap of the means of columns over rows, with the variance of a sample."""
    return DrawnScores(math.sqrt(400 / 399) * counts() @ values / 400, 399)


def of(values: np.ndarray, *, overlap: float | None = None, trained: bool = True) -> MeanInterval:
    """The interval of the mean of columns, with images drawn again."""
    drawn = redrawn(values)
    return mean_interval(values.mean(axis=0).tolist(), drawn, overlap=overlap, trained=trained)


def margin(found: MeanInterval) -> float:
    """The distance from the mean to the ends of the interval that decides."""
    return not_none(found.deciding).high - found.mean


def is_significant(found: MeanInterval) -> bool:
    """Whether a difference is, if it is the only one."""
    (tested,) = make_comparisons({"only": found}).values()
    return tested.finding == "significant"


def components(values: np.ndarray) -> tuple[float, float, float]:
    """A, B and C of the table of images and seeds."""
    images, seeds = values.shape
    a = values.mean(axis=0).var(ddof=1) / seeds
    b = values.mean(axis=1).var(ddof=1) / images
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    mean_square = (residuals**2).sum() / ((images - 1) * (seeds - 1))
    return float(a), float(b), float(mean_square / (images * seeds))


def t_margin(variance: float, df: float) -> float:
    """Half the width of a 95 % t interval."""
    return float(stats.t.ppf(0.975, df)) * math.sqrt(variance)


def joint_margin(a: float, b: float, c: float) -> float:
    """That of five seeds and 400 images, by Satterthwaite."""
    joint = max(a, a + b - c)
    return t_margin(joint, joint**2 / (a**2 / 4 + b**2 / 399))


def test_over_seeds_alone_it_is_the_t_interval_of_statsmodels():
    found, known = mean_interval(SLEEP), DescrStatsW(SLEEP)
    assert (found.n, found.mean) == (10, pytest.approx(0.75))
    assert found.sd == pytest.approx(stats.tstd(SLEEP))
    assert (found.low, found.high) == pytest.approx(known.tconfint_mean(0.05))
    assert found.deciding == found.interval == (found.low, found.high)
    assert found.p_value == pytest.approx(stats.ttest_1samp(SLEEP, 0).pvalue)
    assert not is_significant(found)
    assert found.images is None
    ends = mean_interval([0.97, 0.99, 1.0], bounded=True)
    assert not_none(ends.low) < 2 * ends.mean - 1 < not_none(ends.high) == 1.0


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_a_mean_of_nothing_or_of_nan_is_refused(values: list[float]):
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


def test_the_variance_is_that_of_the_two_way_table():
    values = RIGHT + np.linspace(-0.03, 0.03, 5)
    a, b, c = components(values)
    assert a + b - c > max(a, b)
    assert margin(of(values)) == pytest.approx(joint_margin(a, b, c), rel=0.01)
    # Where seeds differ by what each does on each image alone, that is counted once.
    values = values - values.mean(axis=0) + values.mean() + np.linspace(-1, 1, 5) * 1e-3
    a, b, c = components(values)
    assert b > c > a
    assert margin(of(values)) == pytest.approx(joint_margin(c, b, c), rel=0.01), "A is at least C"


def test_it_is_never_narrower_than_the_interval_over_seeds():
    few = RIGHT[:, :3] + np.array([-0.05, 0.0, 0.06])
    found = of(few)
    assert not_none(found.low) <= not_none(mean_interval(few.mean(axis=0).tolist()).low)
    assert not_none(found.p_value) >= stats.ttest_1samp(few.mean(axis=0), 0).pvalue


def test_its_p_is_below_a_twentieth_exactly_where_it_leaves_out_0():
    drawn = redrawn(RIGHT.astype(float))
    for shift in np.linspace(0.6, 0.9, 31):
        found = mean_interval((RIGHT.mean(axis=0) - shift).tolist(), drawn)
        low, high = not_none(found.interval)
        leaves_out_0 = low > 0 or high < 0
        assert (not_none(found.p_value) < 0.05) is is_significant(found) is leaves_out_0


def test_seeds_that_agree_on_a_difference_by_chance_are_not_taken_for_sure():
    one, other = np.zeros((400, 2)), np.zeros((400, 2))
    one[:8, 0] = one[8:16, 1] = 1  # each seed gains 8 images, but not the same ones
    values = one - other
    _, b, c = components(values)
    found = of(values)
    assert (found.sd, found.mean) == (0.0, 0.02)
    assert margin(found) == pytest.approx(t_margin(c, 1), rel=0.02)
    assert not is_significant(found)
    assert found.mean > t_margin(b, 399), "as the images alone would have it"


def test_one_seed_claims_nothing_beyond_test_images_unless_nothing_is_trained():
    one = RIGHT[:, :1].astype(float)
    found = of(one)
    assert (found.interval, found.deciding, found.p_value) == (None, None, None)
    assert not is_significant(found)
    assert found.images is not None
    untrained = of(one, trained=False)
    assert untrained.interval == untrained.images
    for shared in (0.8, 1.0):
        assert of(one, overlap=shared, trained=False) == untrained


def test_seeds_that_share_much_have_a_wider_one_that_decides():
    values = RIGHT + np.linspace(-0.02, 0.02, 5)
    found, plain = of(values, overlap=0.8), of(values)
    assert plain.wider is None
    assert of(values, overlap=0.6) == plain
    assert (found.low, found.high) == (plain.low, plain.high)
    a, b, c = components(values)
    wide = a * (1 + 5 * 0.8 / 0.2)
    expected = max(joint_margin(wide, b, c), t_margin(wide, 4))
    assert margin(found) == pytest.approx(expected, rel=0.01)
    assert found.deciding == found.wider
    between = of(values - found.mean + margin(plain) * 1.5, overlap=0.8)
    assert not_none(between.low) > 0
    assert not is_significant(between)


def test_seeds_that_share_all_images_are_tested_for_nothing():
    found = of(RIGHT.astype(float), overlap=1.0)
    assert found.interval == found.images
    assert (found.p_value, found.wider) == (None, None)
    assert not is_significant(found)


def trial(
    label: str, seed: int, right: Mapping[str, Sequence[bool]], classes: int = 4
) -> TrialResult:
    """A tested trial with what it gets right in each part; image n is of class n % classes."""
    predictions = []
    for part, hits in right.items():
        for n, hit in enumerate(hits):
            true = f"class {n % classes}"
            taken = true if hit else "another"
            predictions.append(Prediction("text", part, f"{n:05d}.png", true, taken, 1.0))
    outcomes = {"text": outcomes_of(reversed(predictions))}
    return partial_result(label=label, seed=seed, trainable=1, outcomes=outcomes)


def share(p: float, images: int) -> list[bool]:
    """So many of the images, evenly spread."""
    return [math.floor((n + 1) * p) > math.floor(n * p) for n in range(images)]


def spread(
    found: ResampledTests,
    label: str,
    seeds: Sequence[int],
    name: str = "score",
    less: str | None = None,
) -> float | None:
    """The standard deviation over test images of a mean or of a difference."""
    drawn = found.drawn(label, less, seeds, name)
    return None if drawn is None else float(drawn.scores.mean(axis=1).std())


def test_a_paired_difference_is_of_the_same_images_and_none_of_equal_predictions():
    right = share(0.8, 600)
    better = [hit or n % 30 == 5 for n, hit in enumerate(right)]
    trials = []
    for label, hits in (("best", right), ("twin", right), ("better", better)):
        trials += [trial(label, seed, {"accuracy": hits}) for seed in (1, 2)]
    found = resample_tests(trials, FewShot())
    # Two pseudo-images of each seed are all that sets them apart.
    of_one_seed = 2**0.5 / 602
    assert spread(found, "best", [1], less="twin") == pytest.approx(of_one_seed, rel=0.1)
    of_both = of_one_seed / 2**0.5
    assert spread(found, "best", [1, 2], less="twin") == pytest.approx(of_both, rel=0.1)
    known = np.subtract(better, right, dtype=float).std() / math.sqrt(600)
    assert spread(found, "better", [1, 2], less="best") == pytest.approx(known, rel=0.1)
    assert known < not_none(spread(found, "better", [1, 2])) / 2


def test_the_recall_of_a_class_varies_over_seeds_and_images():
    right = {seed: share(p, 200) for seed, p in enumerate((0.7, 0.8, 0.9))}
    trials = [trial("best", seed, {"accuracy": hits}, 2) for seed, hits in right.items()]
    found = recall_intervals(trials)
    assert found.keys() == {("accuracy", "class 0"), ("accuracy", "class 1")}
    for number, recall in enumerate(found.values()):
        seeds = [np.mean(hits[number::2]) for hits in right.values()]
        assert recall.mean == pytest.approx(np.mean(seeds))
        t_interval = stats.t.ppf(0.975, 2) * stats.sem(seeds)
        assert not_none(recall.low) < recall.mean - t_interval + 1e-6
    (one_seed, _) = recall_intervals(trials[:1]).values()
    assert one_seed.low is None
    assert one_seed.images
    frozen = {"trainable": 0, "settings": TrialSettings(subset="none", head="linear")}
    linear = trials[0].model_copy(
        update=frozen | {"outcomes": {"linear": trials[0].outcomes["text"]}}
    )
    assert next(iter(recall_intervals([linear]).values())).low is None, "its head is trained"
    single = recall_intervals([trial("best", 1, {"accuracy": share(0.5, 3)}, 2)])
    assert single.keys() == {("accuracy", "class 0")}, "the other one has one image"


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="no such trial"),
        pytest.param([partial_result(label="b", seed=1)], id="no file"),
        pytest.param([trial("b", 1, {"accuracy": share(0.5, 99)})], id="fewer images"),
        pytest.param([trial("b", 1, {"accuracy": share(0.5, 100)}, 5)], id="other classes"),
    ],
)
def test_without_predictions_of_the_same_images_there_is_no_interval(others: list[TrialResult]):
    found = resample_tests([trial("a", 1, {"accuracy": share(0.5, 100)}), *others], FewShot())
    assert spread(found, "a", [1]) is not None
    assert spread(found, "a", [1], less="b") is None
    assert spread(found, "a", [1, 2]) is None
    assert spread(found, "a", [1], "hmean") is None


@pytest.mark.parametrize("head, depends_on_images", [("text", False), ("linear", True)])
def test_a_head_that_is_trained_on_frozen_encoders_depends_on_the_training_images(
    head: Head, depends_on_images: bool
):
    own = TrialSettings(subset="none", head=head)
    trials = [
        partial_result(label="given", seed=seed, settings=own, trainable=0, test={"score": score})
        for seed, score in enumerate((0.5, 0.6, 0.7))
    ]
    (found,) = mean_intervals(ResampledTests({}, overlap=1.0), trials, ["score"]).values()
    assert (found.low is None) == depends_on_images, "all seeds have the same"
