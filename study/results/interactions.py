"""Pairs of sites: what both give beyond the better one, and whether their gains add up.

Accuracies have a ceiling. Two sites that take zero-shot from 67 % to 85 % and to 92 % would need
110 % together to add up, so that on accuracies every good pair seems to give less than the sum of
its sites. Log-odds have no ceiling, so the interaction is one of log-odds,

    logit(both) − logit(one) − logit(other) + logit(zero-shot),

where an accuracy on N images is smoothed by 1/(2N), and a score of several parts has the mean of
their log-odds. Near the ceiling that too depends on a few last mistakes. So a pair that would need
more than `CEILING` to add up on validation is not tested.

Source of the smoothing: Anscombe 1956, “On Estimating Binomial Response Relations”.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np

from study.method.subsets import parse
from study.results.bootstrap import Rescored
from study.results.intervals import MeanInterval
from study.results.resampling import Resampled
from study.results.statistics import SeedScores, common_seeds, make_comparisons
from study.trial import Split

CEILING = 0.95
"""The highest validation score that two sites may need to add up for their pair to be tested."""
INTERACTION = (1, -1, -1, 1)
"""The weights of zero-shot, of two sites alone, and of both together, in their interaction."""


@dataclass(frozen=True)
class SiteCell:
    """The scores of an ablation's cell that the interactions of sites need, as fractions."""

    label: str
    """Its name in the ledger."""
    subset: str
    """The sites that it tunes."""
    split: Split
    """The images that the scores were measured on."""
    scores: SeedScores
    """The protocol's score of each seed."""
    parts: Mapping[str, SeedScores]
    """The accuracy of each seed, by the part of the images that makes up the score."""
    images: Mapping[str, int]
    """The number of test images of each part; a part whose trials kept no counts is left out."""
    val_score: float | None
    """The validation score of the cell at its rates; None where nothing was validated."""


class Obstacle(NamedTuple):
    """Why the interaction of a pair of sites is not tested."""

    reason: Literal["ceiling", "untested", "uncounted"]
    """What stands in the way.

    "ceiling": to add up, both sites would need a validation score above `CEILING`. "untested": the
    cells have validation scores alone, and only test images are counted. "uncounted": the trials
    kept no counts of their test images.
    """
    needed: float | None = None
    """The validation score that both sites would need, a fraction; None for other reasons."""


class Interaction(NamedTuple):
    """What two sites give together, over the seeds that all four cells have."""

    sites: tuple[str, str]
    """The subsets of the two sites."""
    gains: Sequence[MeanInterval]
    """The differences to zero-shot of the first site, of the second, and of both together."""
    better: str | None
    """The site that validation scores higher; None where nothing was validated."""
    gain_over_better: MeanInterval | None
    """Both − the better one; its p is corrected for the number of pairs. None without `better`."""
    interaction: MeanInterval | None
    """The interaction of their log-odds; its p is corrected for the number of pairs that are
    tested. None where it is not tested."""
    obstacle: Obstacle | None
    """Why it is not tested; None where it is."""


def interactions(
    cells: Iterable[SiteCell], sites: Sequence[str], resampled: Resampled
) -> list[Interaction]:
    """Return each pair of sites whose four cells have a seed in common.

    The pair that gains most over its better site is first.

    Args:
        cells: the cells of an ablation, one of which is zero-shot, ``none``.
        sites: the subsets that are paired.
        resampled: the scores of the cells on resampled test images.
    """
    by_subset = {cell.subset: cell for cell in cells}
    rows = {}
    gains_over_better = {}
    log_odds = {}
    for first, second in combinations(sites, 2):
        pair = str(parse(f"{first} + {second}"))
        subsets = ("none", first, second, pair)
        if not all(subset in by_subset for subset in subsets):
            continue
        pair_cells = _with_common_seeds([by_subset[subset] for subset in subsets])
        if not pair_cells[0].scores:
            continue
        zero_shot, *others = pair_cells
        better = _better(pair_cells)
        better_subset = None
        if better:
            better_subset = better.subset
            gains_over_better[pair] = _difference(pair_cells[3], better, resampled)
        obstacle = find_obstacle(pair_cells)
        if not obstacle:
            log_odds[pair] = log_odds_interaction(pair_cells, resampled)
        gains = [_difference(cell, zero_shot, resampled) for cell in others]
        rows[pair] = Interaction((first, second), gains, better_subset, None, None, obstacle)
    gain_tests = make_comparisons(gains_over_better)
    interaction_tests = make_comparisons(log_odds)
    tested = [
        row._replace(gain_over_better=gain_tests.get(pair), interaction=interaction_tests.get(pair))
        for pair, row in rows.items()
    ]
    # Without a better site, the gain of both counts.
    return sorted(tested, key=lambda row: -(row.gain_over_better or row.gains[2]).mean)


def _with_common_seeds(cells: Sequence[SiteCell]) -> list[SiteCell]:
    """Return cells with the scores of those seeds that all of them have."""
    seeds = common_seeds([cell.scores for cell in cells])
    restricted = []
    for cell in cells:
        restricted.append(replace(cell, scores={seed: cell.scores[seed] for seed in seeds}))
    return restricted


def _better(cells: Sequence[SiteCell]) -> SiteCell | None:
    """Return the cell of the site that validation scores higher; the first if they are equal."""
    first, second = cells[1:3]
    if first.val_score is None or second.val_score is None:
        return None
    if second.val_score > first.val_score:
        return second
    return first


def _difference(cell: SiteCell, base: SiteCell, resampled: Resampled) -> MeanInterval:
    """Return the difference of the scores of two cells, which have the same seeds."""
    terms = [(cell.label, cell.scores, 1), (base.label, base.scores, -1)]
    difference = resampled.weighted_sum(terms)
    assert difference, "the cells of a pair have their seeds in common"
    return difference


def find_obstacle(cells: Sequence[SiteCell]) -> Obstacle | None:
    """Return why the interaction of two sites is not tested; None where it is.

    Args:
        cells: zero-shot, each site alone, and both together.
    """
    if any(cell.split != "test" for cell in cells):
        return Obstacle("untested")
    if any(cell.images.keys() != cell.parts.keys() for cell in cells):
        return Obstacle("uncounted")
    scores = [cell.val_score for cell in cells[:3] if cell.val_score is not None]
    if len(scores) < 3:
        return None
    zero_shot, first, second = scores
    needed = first + second - zero_shot
    if needed <= CEILING:
        return None
    return Obstacle("ceiling", needed)


def log_odds_interaction(cells: Sequence[SiteCell], resampled: Resampled) -> MeanInterval | None:
    """Return the interaction of the log-odds of four cells over their seeds.

    Args:
        cells: zero-shot, each site alone, and both together, with the same seeds.
        resampled: the scores of the cells on resampled test images.
    """
    terms = []
    drawn = {}
    for cell, weight in zip(cells, INTERACTION, strict=True):
        log_odds = {}
        for seed in cell.scores:
            accuracies = {part: scores[seed] for part, scores in cell.parts.items()}
            log_odds[seed] = float(_mean_log_odds(accuracies, cell.images))
            trial = cell.label, seed
            rescored = resampled.scores.get(trial, {})
            if cell.parts.keys() <= rescored.keys():
                kinds = {part: rescored[part].kinds for part in cell.parts}
                df = min(rescored[part].df for part in cell.parts)
                drawn[trial] = {"score": Rescored(_mean_log_odds(kinds, cell.images), df)}
        terms.append((cell.label, log_odds, weight))
    return resampled._replace(scores=drawn).weighted_sum(terms)


def logit(accuracy: np.ndarray, images: int) -> np.ndarray:
    """Return log-odds of accuracies, smoothed by 1/(2N) so that they are finite at 0 and 1.

    Args:
        accuracy: fractions; values beyond 0 or 1, which resampling may give, are clipped.
        images: N, the number of images that they are measured on.
    """
    smoothing = 1 / (2 * images)
    right = np.clip(accuracy, 0.0, 1.0)
    log_odds: np.ndarray = np.log(right + smoothing) - np.log(1 - right + smoothing)
    return log_odds


def _mean_log_odds(accuracies: Mapping[str, Any], images: Mapping[str, int]) -> Any:
    """Return the mean of the log-odds of accuracies on parts, all of one shape."""
    log_odds = [logit(accuracy, images[part]) for part, accuracy in accuracies.items()]
    return np.mean(log_odds, axis=0)
