"""Two sites add up on log-odds and are compared with the better one; no test near the ceiling."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.method.subsets import parse
from study.protocols import BaseToNew, FewShot
from study.results.interactions import (
    CEILING,
    Interaction,
    Obstacle,
    SiteCell,
    interactions,
    logit,
)
from study.results.resampling import Resampled, resample
from study.results.statistics import is_significant
from study.results.trial_results import TrialResult
from study.trial.predictions import Outcomes
from tests.not_none import not_none
from tests.results.conftest import partial_result

ONE, OTHER, THIRD = "text.ln1", "vision.ln2", "text.bias"
IMAGES = 1000
LEVELS = ([0.0, 0.1], [0.5, 0.6], [1.0, 1.1], [2.0, 2.1])
"""Log-odds of two seeds, of zero-shot, of each site, and of both."""


def cell(
    subset: str,
    scores: Sequence[float],
    val_score: float | None = None,
    *,
    parts: Mapping[str, Sequence[float]] | None = None,
    images: int | None = IMAGES,
) -> SiteCell:
    """A cell with a score of each seed, and its accuracies on parts, which may be the score."""
    by_part = {"score": scores} if parts is None else parts
    return SiteCell(
        label=f"only {subset}",
        subset=subset,
        split="test",
        scores=dict(enumerate(scores, 1)),
        parts={name: dict(enumerate(values, 1)) for name, values in by_part.items()},
        images=dict.fromkeys(by_part, images) if images is not None else {},
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
    subsets = ("none", ONE, OTHER, f"{ONE} + {OTHER}")
    return [
        cell(subset, [odds(value) for value in values], val_score)
        for subset, values, val_score in zip(subsets, log_odds, val, strict=True)
    ]


def test_sites_whose_log_odds_add_up_do_not_interact_whatever_their_accuracies() -> None:
    # 66.8, 84.5 and 92.2 % would need 109.9 % to add up as accuracies.
    zero_shot, one, other = (math.log(p / (1 - p)) for p in (0.668, 0.845, 0.922))
    noise = np.array([-0.02, 0.01, 0.01])
    both = one + other - zero_shot
    pair = pair_of(*four(*(value + noise for value in (zero_shot, one, other, both))))
    assert not_none(pair.interaction).paired.difference.mean == pytest.approx(0.0, abs=1e-9)
    assert not is_significant(pair.interaction)


def test_an_interaction_is_the_weighted_sum_of_log_odds_over_common_seeds() -> None:
    cells = four([0.0, 0.1, 0.0], [0.5, 0.5, 0.6], [1.0, 1.0, 1.1], [2.0, 2.1, 2.3, 9.9])
    values = [2.0 - 1.0 - 0.5 + 0.0, 2.1 - 1.0 - 0.5 + 0.1, 2.3 - 1.1 - 0.6 + 0.0]
    interaction = not_none(pair_of(*cells).interaction)
    assert interaction.paired.seeds == (1, 2, 3)
    found = interaction.paired.difference
    assert found.mean == pytest.approx(np.mean(values))
    ends = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(ends)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize(
    ("accuracy", "images", "log_odds"),
    [
        (0.5, 10, 0.0),
        (1.0, 10, math.log(1.05 / 0.05)),
        (0.0, 10, -math.log(1.05 / 0.05)),
        (0.8, 100, math.log(0.805 / 0.205)),
        (1.2, 10, math.log(1.05 / 0.05)),  # drawn again, and no more than all right
    ],
)
def test_log_odds_are_smoothed_by_half_an_image(
    accuracy: float, images: int, log_odds: float
) -> None:
    assert logit(np.array([accuracy]), images)[0] == pytest.approx(log_odds)


def test_the_log_odds_of_a_score_with_parts_are_the_mean_of_those_of_its_parts() -> None:
    subsets = ("none", ONE, OTHER, f"{ONE} + {OTHER}")
    base, new = (0.0, 1.0, 1.5, 2.5), (1.0, 1.5, 1.0, 3.5)
    cells = [
        cell(subset, [0.5, 0.6], parts={"base": [odds(b), odds(b)], "new": [odds(n), odds(n)]})
        for subset, b, n in zip(subsets, base, new, strict=True)
    ]
    interaction = not_none(pair_of(*cells).interaction)
    of_base, of_new = (2.5 - 1.5 - 1.0 + 0.0), (3.5 - 1.0 - 1.5 + 1.0)
    assert interaction.paired.difference.mean == pytest.approx((of_base + of_new) / 2)


@pytest.mark.parametrize(
    ("val", "better", "mean"),
    [
        ((0.5, 0.7, 0.6, 0.8), ONE, 0.61),
        ((0.5, 0.6, 0.7, 0.8), OTHER, 0.70),
        ((0.5, 0.6, 0.6, 0.8), ONE, 0.61),
    ],
)
def test_what_leads_is_both_less_the_one_that_validation_scores_higher(
    val: Sequence[float], better: str, mean: float
) -> None:
    # On test the second site is better, whatever validation says.
    subsets = ("none", ONE, OTHER, f"{ONE} + {OTHER}")
    scores = ([0.5, 0.5, 0.5], [0.60, 0.61, 0.62], [0.70, 0.69, 0.71], [0.75, 0.74, 0.76])
    pair = pair_of(*(cell(*given) for given in zip(subsets, scores, val, strict=True)))
    assert pair.better == better
    assert not_none(pair.gain_over_better).paired.difference.mean == pytest.approx(0.75 - mean)


def test_without_validation_no_site_is_called_better_and_nothing_leads() -> None:
    pair = pair_of(*four(*LEVELS))
    assert (pair.better, pair.gain_over_better) == (None, None)
    assert pair.interaction is not None


@pytest.mark.parametrize(
    ("val", "is_tested"),
    [((0.668, 0.845, 0.922), False), ((0.50, 0.70, 0.75), True), ((0.50, 0.70, 0.76), False)],
)
def test_a_pair_that_needs_more_than_the_ceiling_on_validation_is_not_tested(
    val: Sequence[float], is_tested: bool
) -> None:
    assert CEILING == 0.95
    pair = pair_of(*four(*LEVELS, val=[*val, 0.8]))
    assert (pair.interaction is not None) is is_tested
    if is_tested:
        assert pair.obstacle is None
    else:
        assert not_none(pair.obstacle).needed == pytest.approx(val[1] + val[2] - val[0])
    assert pair.gain_over_better is not None, (
        "what both give over the better one is told all the same"
    )


def test_without_the_number_of_images_a_pair_is_not_tested() -> None:
    unknown, *cells = four(*LEVELS)
    pair = pair_of(cell(unknown.subset, [0.5, 0.5], images=None), *cells)
    assert pair.interaction is None
    assert pair.obstacle == Obstacle("uncounted")


def many(val: Mapping[str, float]) -> list[SiteCell]:
    """The cells of three sites, with scores that differ from seed to seed."""
    rng = np.random.default_rng(1)
    subsets = ("none", THIRD, ONE, OTHER, f"{THIRD} + {ONE}", f"{THIRD} + {OTHER}")
    levels = dict(zip(subsets, (0.5, 0.55, 0.6, 0.62, 0.66, 0.7), strict=True))
    levels[f"{ONE} + {OTHER}"] = 0.8
    cells = []
    for subset, level in levels.items():
        scores = (level + rng.normal(0, 0.01, size=4)).tolist()
        cells.append(cell(str(parse(subset)), scores, val.get(subset, level)))
    return cells


def test_each_family_is_corrected_for_the_number_of_its_tests() -> None:
    sites = (THIRD, ONE, OTHER)
    # One of the three is near the ceiling, so that two are tested.
    pairs = interactions(many({ONE: 0.79, OTHER: 0.79}), sites, Resampled({}, {}))
    leads = [pair.gain_over_better for pair in pairs if pair.gain_over_better]
    tested = [pair.interaction for pair in pairs if pair.interaction]
    assert (len(leads), len(tested)) == (3, 2)
    for family in (leads, tested):
        p_values = [one.paired.p_value for one in family]
        corrected = multipletests(p_values, method="holm")[1]
        assert [one.holm_p for one in family] == pytest.approx(corrected)
    sizes = [lead.paired.difference.mean for lead in leads]
    assert sizes == sorted(sizes, reverse=True)


def predicted(label: str, seed: int, right: Mapping[str, np.ndarray]) -> TrialResult:
    """A tested trial that is right on some images of each part."""
    classes = {(part, "a"): tuple(own.tolist()) for part, own in right.items()}
    outcomes = Outcomes("the same images", classes)
    return partial_result(label=label, seed=seed, outcomes=outcomes)


@pytest.mark.parametrize("parts", [("accuracy",), ("base", "new")])
def test_the_interval_of_an_interaction_counts_test_images_too(parts: Sequence[str]) -> None:
    rng = np.random.default_rng(3)
    levels = dict(zip(("none", ONE, OTHER, f"{ONE} + {OTHER}"), (0.5, 0.6, 0.7, 0.8), strict=True))
    trials, cells = [], []
    # Seeds are alike, so that the variance is that of the log-odds of four independent accuracies.
    variance = 0.0
    for subset, level in levels.items():
        right = {part: rng.random(200) < level for part in parts}
        means = {part: [float(own.mean())] * 2 for part, own in right.items()}
        own = cell(subset, means[parts[0]], parts=means, images=200)
        cells.append(own)
        trials += [predicted(own.label, seed, right) for seed in (1, 2)]
        variance += sum(1 / (200 * share * (1 - share)) for share, _ in means.values())
    protocol = FewShot() if parts == ("accuracy",) else BaseToNew()
    (pair,) = interactions(cells, (ONE, OTHER), resample(trials, protocol))
    found = not_none(pair.interaction).paired.difference
    half = (not_none(found.images).high - not_none(found.images).low) / 2 / stats.t.ppf(0.975, 198)
    assert half == pytest.approx(math.sqrt(variance) / len(parts), rel=0.15)
