"""Two sites add up on log-odds and are compared with the better one; no test near the ceiling."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.method.subsets import parse
from study.protocols import BaseToNew
from study.results.interactions import (
    Interaction,
    Obstacle,
    SiteCell,
    interactions,
    logit,
)
from study.results.resampling import Resampled, resample
from study.results.trial_results import TrialResult
from study.trial.predictions import Outcomes
from tests.case_tables import from_table
from tests.not_none import not_none
from tests.results.conftest import partial_result

ONE, OTHER, THIRD = "text.ln1", "vision.ln2", "text.bias"
SUBSETS = ("none", ONE, OTHER, f"{ONE} + {OTHER}")
IMAGES = 1000
LEVELS = ([0.0, 0.1], [0.5, 0.6], [1.0, 1.1], [2.0, 2.1])
"""Log-odds of two seeds, of zero-shot, of each site, and of both."""


def cell(
    subset: str,
    scores: Sequence[float],
    val_score: float | None = None,
    *,
    parts: Mapping[str, Sequence[float]] | None = None,
    images: int = IMAGES,
) -> SiteCell:
    """A cell with a score of each seed, and its accuracies on parts, which may be the score."""
    by_part = {"score": scores} if parts is None else parts
    return SiteCell(
        label=f"only {subset}",
        subset=subset,
        split="test",
        scores=dict(enumerate(scores, 1)),
        parts={name: dict(enumerate(values, 1)) for name, values in by_part.items()},
        images=dict.fromkeys(by_part, images),
        val_score=val_score,
    )


def odds(log_odds: float, images: int = IMAGES) -> float:
    """The accuracy that has these log-odds once it is smoothed."""
    smoothing = 1 / (2 * images)
    share = 1 / (1 + math.exp(-log_odds))
    return share * (1 + 2 * smoothing) - smoothing


def pair_of(*cells: SiteCell, sites: Sequence[str] = (ONE, OTHER)) -> Interaction:
    (pair,) = interactions(cells, sites, Resampled({}, {}))
    return pair


def four(*log_odds: Iterable[float], val: Sequence[float | None] = (None,) * 4) -> list[SiteCell]:
    """Zero-shot, each site, and both, by the log-odds of each seed."""
    return [
        cell(subset, [odds(value) for value in values], val_score)
        for subset, values, val_score in zip(SUBSETS, log_odds, val, strict=True)
    ]


def test_an_interaction_is_the_weighted_sum_of_log_odds_over_common_seeds():
    cells = four([0.0, 0.1, 0.0], [0.5, 0.5, 0.6], [1.0, 1.0, 1.1], [2.0, 2.1, 2.3, 9.9])
    values = [2.0 - 1.0 - 0.5 + 0.0, 2.1 - 1.0 - 0.5 + 0.1, 2.3 - 1.1 - 0.6 + 0.0]
    interaction = not_none(pair_of(*cells).interaction)
    assert interaction.n == 3
    found = interaction
    assert found.mean == pytest.approx(np.mean(values))
    ends = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(ends)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize(
    "accuracy, images, log_odds",
    [
        (0.5, 10, 0.0),
        (1.0, 10, math.log(1.05 / 0.05)),
        (0.0, 10, -math.log(1.05 / 0.05)),
        (0.8, 100, math.log(0.805 / 0.205)),
        (1.2, 10, math.log(1.05 / 0.05)),  # drawn again, and no more than all right
    ],
)
def test_log_odds_are_smoothed_by_half_an_image(accuracy: float, images: int, log_odds: float):
    assert logit(np.array([accuracy]), images)[0] == pytest.approx(log_odds)


def test_the_log_odds_of_a_score_with_parts_are_the_mean_of_those_of_its_parts():
    base, new = (0.0, 1.0, 1.5, 2.5), (1.0, 1.5, 1.0, 3.5)
    cells = [
        cell(subset, [0.5, 0.6], parts={"base": [odds(b)] * 2, "new": [odds(n)] * 2})
        for subset, b, n in zip(SUBSETS, base, new, strict=True)
    ]
    interaction = not_none(pair_of(*cells).interaction)
    of_base, of_new = (2.5 - 1.5 - 1.0 + 0.0), (3.5 - 1.0 - 1.5 + 1.0)
    assert interaction.mean == pytest.approx((of_base + of_new) / 2)


@pytest.mark.parametrize(
    "val, better, mean",
    [
        ((0.5, 0.7, 0.6, 0.8), ONE, 0.61),
        ((0.5, 0.6, 0.7, 0.8), OTHER, 0.70),
        ((0.5, 0.6, 0.6, 0.8), ONE, 0.61),
    ],
)
def test_what_leads_is_both_less_the_one_that_validation_scores_higher(
    val: Sequence[float], better: str, mean: float
):
    # On test the second site is better, whatever validation says.
    scores = ([0.5, 0.5, 0.5], [0.60, 0.61, 0.62], [0.70, 0.69, 0.71], [0.75, 0.74, 0.76])
    pair = pair_of(*(cell(*given) for given in zip(SUBSETS, scores, val, strict=True)))
    assert pair.better == better
    assert not_none(pair.gain_over_better).mean == pytest.approx(0.75 - mean)


@from_table
def test_a_pair_that_needs_more_than_the_ceiling_on_validation_is_not_tested(
    val: Sequence[float], is_tested: bool
):
    pair = pair_of(*four(*LEVELS, val=[*val, 0.8]))
    assert (pair.interaction is not None) is is_tested
    if not is_tested:
        assert not_none(pair.obstacle).needed == pytest.approx(val[1] + val[2] - val[0])
    assert pair.gain_over_better is not None, "it is told all the same"


@from_table
def test_what_is_not_tested_or_not_counted_has_no_interaction(
    changes: dict[str, Any], reason: Literal["uncounted", "untested"]
):
    zero_shot, *cells = four(*LEVELS)
    pair = pair_of(replace(zero_shot, **changes), *cells)
    assert (pair.interaction, pair.obstacle) == (None, Obstacle(reason))


def test_each_family_is_corrected_for_the_number_of_its_tests():
    sites = (THIRD, ONE, OTHER)
    levels = {"none": 0.5, THIRD: 0.55, ONE: 0.6, OTHER: 0.62}
    levels |= {f"{THIRD} + {ONE}": 0.66, f"{THIRD} + {OTHER}": 0.7, f"{ONE} + {OTHER}": 0.8}
    near_the_ceiling = {ONE: 0.79, OTHER: 0.79}  # so that two of the three pairs are tested
    rng = np.random.default_rng(1)
    cells = []
    for subset, level in levels.items():
        scores = (level + rng.normal(0, 0.01, size=4)).tolist()
        cells.append(cell(str(parse(subset)), scores, near_the_ceiling.get(subset, level)))
    pairs = interactions(cells, sites, Resampled({}, {}))
    leads = [pair.gain_over_better for pair in pairs if pair.gain_over_better]
    tested = [pair.interaction for pair in pairs if pair.interaction]
    assert (len(leads), len(tested)) == (3, 2)
    for family in (leads, tested):
        corrected = multipletests([one.p_value for one in family], method="holm")[1]
        assert [one.holm_p for one in family] == pytest.approx(corrected)
    sizes = [lead.mean for lead in leads]
    assert sizes == sorted(sizes, reverse=True)


def predicted(label: str, seed: int, right: Mapping[str, np.ndarray]) -> TrialResult:
    """A tested trial that is right on some images of each part."""
    classes = {(part, "a"): tuple(own.tolist()) for part, own in right.items()}
    outcomes = Outcomes("the same images", classes)
    return partial_result(label=label, seed=seed, outcomes=outcomes)


def test_the_interval_of_an_interaction_counts_test_images_too():
    rng = np.random.default_rng(3)
    trials, cells = [], []
    # Seeds are alike, so that the variance is that of the log-odds of four independent accuracies,
    # each of which is the mean of two parts.
    variance = 0.0
    for subset, level in zip(SUBSETS, (0.5, 0.6, 0.7, 0.8), strict=True):
        right = {part: rng.random(200) < level for part in ("base", "new")}
        means = {part: [float(own.mean())] * 2 for part, own in right.items()}
        own = cell(subset, means["base"], parts=means, images=200)
        cells.append(own)
        trials += [predicted(own.label, seed, right) for seed in (1, 2)]
        for share, _ in means.values():
            variance += 1 / (200 * share * (1 - share)) / 4
    (pair,) = interactions(cells, (ONE, OTHER), resample(trials, BaseToNew()))
    images = not_none(not_none(pair.interaction).images)
    half = (images.high - images.low) / 2
    expected = stats.t.ppf(0.975, 198) * math.sqrt(variance)
    assert half == pytest.approx(expected, rel=0.15)
