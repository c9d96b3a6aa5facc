"""One interval over seeds and test images, which is never narrower than that over seeds."""

import math
from functools import cache

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from study.results.intervals import DrawnScores, Interval, MeanInterval, mean_interval
from tests.not_none import not_none
from tests.results.test_statistics import FIRST

RNG = np.random.default_rng(7)
# What five seeds are right on: most images are right or wrong with all of them.
RIGHT = (RNG.random(400) < 0.8)[:, None] ^ (RNG.random((400, 5)) < 0.1)


@cache
def counts() -> np.ndarray:
    """How often each of 20,000 sets has each of 400 images."""
    return np.random.default_rng(1).multinomial(400, np.full(400, 1 / 400), size=20_000)


def redrawn(values: np.ndarray) -> DrawnScores:
    """A bootstrap of the means of columns over rows, with the variance of a sample."""
    centred = values - values.mean(axis=0)
    means = counts() @ centred / 400
    return DrawnScores(values.mean(axis=0) + math.sqrt(400 / 399) * means, 399)


def of(values: np.ndarray, **options: float | bool | None) -> MeanInterval:
    """The interval of the mean of columns, with images drawn again."""
    return mean_interval(values.mean(axis=0).tolist(), redrawn(values), **options)  # type: ignore[arg-type]


def components(values: np.ndarray) -> tuple[float, float, float]:
    """A, B and C of the table of images and seeds."""
    images, seeds = values.shape
    a = values.mean(axis=0).var(ddof=1) / seeds
    b = values.mean(axis=1).var(ddof=1) / images
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    mean_square = (residuals**2).sum() / ((images - 1) * (seeds - 1))
    return float(a), float(b), float(mean_square / (images * seeds))


def test_over_seeds_alone_it_is_the_t_interval_of_statsmodels():
    found, known = mean_interval(FIRST), DescrStatsW(FIRST)
    assert (found.n, found.mean) == (10, pytest.approx(0.75))
    assert found.sd == pytest.approx(stats.tstd(FIRST))
    assert (found.low, found.high) == pytest.approx(known.tconfint_mean(0.05))
    reach = pytest.approx(not_none(found.high) - found.mean)
    assert (found.half_width, found.reach) == (reach, reach)
    assert found.p_value == pytest.approx(stats.ttest_1samp(FIRST, 0).pvalue)
    assert found.within_noise
    assert found.images is None


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_a_mean_of_nothing_or_of_nan_is_refused(values: list[float]):
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


def test_the_variance_is_that_of_the_two_way_table():
    values = RIGHT + np.linspace(-0.03, 0.03, 5)
    a, b, c = components(values)
    joint = a + b - c
    assert joint > max(a, b)
    df = joint**2 / (a**2 / 4 + b**2 / 399)
    expected = stats.t.ppf(0.975, df) * math.sqrt(joint)
    assert of(values).reach == pytest.approx(expected, rel=0.01)


def test_what_both_parts_contain_is_counted_once():
    # Here seeds differ by what each does on each image alone, as far as these images tell.
    values = RIGHT.astype(float)
    values = values - values.mean(axis=0) + values.mean() + np.linspace(-1, 1, 5) * 1e-3
    a, b, c = components(values)
    assert b > c > a
    df = b**2 / (c**2 / 4 + b**2 / 399)  # A is at least C
    assert of(values).reach == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(b), rel=0.01)


def test_it_is_never_narrower_than_the_interval_over_seeds():
    few = RIGHT[:, :3] + np.array([-0.05, 0.0, 0.06])
    found = of(few)
    assert not_none(found.low) <= not_none(found.seeds).low
    assert not_none(found.p_value) >= stats.ttest_1samp(few.mean(axis=0), 0).pvalue


def test_its_p_is_below_a_twentieth_exactly_where_it_leaves_out_0():
    drawn = redrawn(RIGHT.astype(float))
    for shift in np.linspace(0.6, 0.9, 31):
        moved = DrawnScores(drawn.scores - shift, drawn.df)
        found = mean_interval((RIGHT.mean(axis=0) - shift).tolist(), moved)
        assert found.p_value is not None
        assert (found.p_value >= 0.05) is found.within_noise


def test_seeds_that_agree_on_a_difference_by_chance_are_not_taken_for_sure():
    one, other = np.zeros((400, 2)), np.zeros((400, 2))
    one[:8, 0] = one[8:16, 1] = 1  # each seed gains 8 images, but not the same ones
    values = one - other
    _, b, c = components(values)
    found = of(values)
    assert (found.sd, found.mean) == (0.0, 0.02)
    assert found.reach == pytest.approx(stats.t.ppf(0.975, 1) * math.sqrt(c), rel=0.02)
    assert found.within_noise
    assert found.mean > stats.t.ppf(0.975, 399) * math.sqrt(b), "as the images alone would have it"


def test_seeds_without_any_spread_leave_the_images():
    same = np.repeat(RIGHT[:, :1], 5, axis=1).astype(float)
    found = of(same)
    expected = stats.t.ppf(0.975, 399) * same[:, 0].std(ddof=1) / 20
    assert found.reach == pytest.approx(expected, rel=0.02)
    assert found.seeds is None


def test_one_seed_claims_nothing_beyond_test_images_unless_nothing_is_trained():
    one = RIGHT[:, :1].astype(float)
    found = of(one)
    assert (found.low, found.high, found.reach, found.p_value) == (None, None, None, None)
    assert found.within_noise
    assert found.images is not None
    untrained = of(one, trained=False)
    assert Interval(not_none(untrained.low), not_none(untrained.high)) == untrained.images


def test_seeds_without_spread_or_predictions_have_no_interval():
    found = mean_interval([0.5, 0.5])
    assert (found.sd, found.low, found.p_value) == (0.0, None, None)
    assert found.within_noise


def test_it_ends_at_what_is_possible():
    found = mean_interval([0.97, 0.99, 1.0], lowest=0.0, highest=1.0)
    assert found.high == 1.0
    assert not found.symmetric
    assert mean_interval([0.5, 0.52], highest=1.0).symmetric
    assert found.mean + not_none(found.reach) > 1


def test_seeds_that_share_little_have_one_interval():
    plain = of(RIGHT.astype(float))
    assert plain.wider is None
    for shared in (0.0, 0.6):
        assert of(RIGHT.astype(float), overlap=shared) == plain


def test_seeds_that_share_much_have_a_wider_one_that_decides():
    values = RIGHT + np.linspace(-0.02, 0.02, 5)
    found, plain = of(values, overlap=0.8), of(values)
    assert (found.low, found.high) == (plain.low, plain.high)
    a, b, c = components(values)
    wide = a * (1 + 5 * 0.8 / 0.2)
    joint = max(wide, b, wide + b - c)
    df = joint**2 / (wide**2 / 4 + b**2 / 399)
    expected = stats.t.ppf(0.975, df) * math.sqrt(joint)
    seeds = stats.t.ppf(0.975, 4) * math.sqrt(wide)
    assert found.reach == pytest.approx(max(expected, seeds), rel=0.01)
    assert not_none(found.wider).high - found.mean == pytest.approx(found.reach)
    between = of(values - found.mean + (plain.reach or 0) * 1.5, overlap=0.8)
    assert not_none(between.low) > 0
    assert between.within_noise


def test_seeds_that_share_all_images_are_tested_for_nothing():
    found = of(RIGHT.astype(float), overlap=1.0)
    assert Interval(not_none(found.low), not_none(found.high)) == found.images
    assert (found.p_value, found.reach, found.wider) == (None, None, None)
    assert found.within_noise


def test_what_is_not_trained_is_the_same_whatever_seeds_share():
    same = np.repeat(RIGHT[:, :1], 5, axis=1).astype(float)
    for shared in (0.8, 1.0):
        assert of(same, overlap=shared, trained=False) == of(same)
