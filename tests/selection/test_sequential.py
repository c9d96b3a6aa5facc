"""The rule that stops candidates: how often it errs, and what it never stops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from study.config.settings import Settings
from study.selection.sequential import ERROR, looks, never_stopped, stopped, told_apart
from study.trial.study import Candidate

REPEATS = 600
Draw = Callable[[Generator, int], np.ndarray]


def normal(rng: Generator, seeds: int) -> np.ndarray:
    return rng.normal(0, 0.01, (REPEATS, seeds))


def heavy(rng: Generator, seeds: int) -> np.ndarray:
    return rng.standard_t(3, (REPEATS, seeds)) / 100


def counts(rng: Generator, seeds: int) -> np.ndarray:
    """Two models that are right in nine of ten images, on 200 images of their own."""
    right = rng.binomial(200, 0.9, (2, REPEATS, seeds)) / 200
    return right[0] - right[1]


def rate(differences: np.ndarray) -> float:
    """How often a candidate with these differences to the winner is stopped."""
    candidates = [candidate("best"), candidate("other")]
    seeds = range(differences.shape[1])
    found = [
        stopped(candidates, {"best": dict.fromkeys(seeds, 0.0), "other": dict(enumerate(d))}, seeds)
        for d in differences
    ]
    return sum(map(bool, found)) / len(found)


def candidate(label: str, same_as: str | None = None, **settings: Any) -> Candidate:
    val_score = settings.pop("val_score", None)
    own = Settings.model_validate({"subset": "none", **settings})
    return Candidate(label=label, same_as=same_as, settings=own, val_score=val_score)


@pytest.mark.parametrize("seeds", [4, 10])
@pytest.mark.parametrize("draw", [normal, heavy, counts])
def test_what_equals_the_winner_is_rarely_stopped(draw: Draw, seeds: int) -> None:
    # Three standard deviations of a share of so many repeats.
    above = 3 * (ERROR * (1 - ERROR) / REPEATS) ** 0.5
    assert rate(draw(np.random.default_rng(seeds), seeds)) < ERROR + above


def test_without_its_correction_it_would_err_too_often() -> None:
    differences = normal(np.random.default_rng(0), 10)
    at_each = [
        any(told_apart(d[:count], looks(10).start + 1) for count in looks(10)) for d in differences
    ]
    assert sum(at_each) / REPEATS > 2 * ERROR


@pytest.mark.parametrize("sign", [1, -1])
def test_what_differs_is_stopped(sign: int) -> None:
    differences = normal(np.random.default_rng(1), 5) + sign * 0.1
    assert rate(differences) > 0.95


def test_what_differs_by_the_same_in_each_seed_is_not_told_apart() -> None:
    assert not told_apart([0.1, 0.1, 0.1], 5)
    assert told_apart([0.1, 0.1001, 0.1], 5)


def test_a_look_depends_on_the_seeds_before_it_alone() -> None:
    seeds = (7, 3, 5, 1, 9)
    best = dict.fromkeys(seeds, 0.5)
    apart = dict(zip(seeds, (0.1, 0.101, 0.1, 0.9, 0.9), strict=True))
    late = dict(zip(seeds, (0.9, 0.1, 0.1, 0.1, 0.1), strict=True))
    candidates = [candidate("best"), candidate("apart"), candidate("late")]
    scores = {"best": best, "apart": apart, "late": late}
    assert stopped(candidates, scores, seeds) == {"apart": 3}
    early = {label: {s: own[s] for s in seeds[:3]} for label, own in scores.items()}
    assert stopped(candidates, early, seeds) == {"apart": 3}
    # A seed that failed is in no difference.
    del scores["apart"][3]
    assert "apart" not in stopped(candidates, early | {"apart": {7: 0.1, 5: 0.1}}, seeds)


def test_what_a_fixed_test_needs_and_what_is_registered_is_never_stopped() -> None:
    candidates = [
        candidate("zero-shot", val_score=0.9),
        candidate("clipfit-tuned", same_as="clipfit"),
        candidate("clipfit"),
        candidate("linear", head="linear", val_score=0.8),
        candidate("lora", peer={"method": "lora", "lr": 0.1}, val_score=0.7),
        candidate("best", same_as="best-2"),
        candidate("best-2"),
        candidate("best-with-delta"),
        candidate("best-plain"),
    ]
    labels = {c.label for c in candidates if c.same_as is None}
    kept = never_stopped(candidates) & labels
    assert kept == {"clipfit", "linear", "best-2", "best-with-delta"}
    seeds = (1, 2, 3, 4)
    apart = dict(zip(seeds, (0.1, 0.11, 0.1, 0.1), strict=True))
    scores = dict.fromkeys(labels, apart) | {"best-2": dict.fromkeys(seeds, 0.9)}
    assert stopped(candidates, scores, seeds) == {
        "zero-shot": 3,
        "lora": 3,
        "best-plain": 3,
    }
