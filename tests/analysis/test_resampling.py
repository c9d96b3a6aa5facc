"""Test images are drawn again, the same for all trials, and scored as the protocol does."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from study.analysis.leaderboard import leaderboard
from study.analysis.resampling import Resampled, resample
from study.analysis.results import TrialResult, read_results
from study.protocols import BaseToNew, FewShot, Protocol, Transfer
from study.protocols.competition import Competition, accuracies, ausuc, drawn_again, hmean
from study.trial import Prediction
from study.trial.predictions import outcomes_of
from tests.analysis.conftest import add_answer, keep_predictions

Right = dict[str, Sequence[bool]]


def trial(label: str, seed: int, right: Right, classes: int = 4) -> TrialResult:
    """A tested trial with what it gets right in each part; image n is of class n % classes."""
    predictions = [
        Prediction(part, f"{n:05d}.png", true, true if hit else "another", 1.0)
        for part, hits in right.items()
        for n, hit in enumerate(hits)
        for true in [f"class {n % classes}"]
    ]
    return TrialResult.model_construct(
        label=label, seed=seed, outcomes=outcomes_of(reversed(predictions))
    )


def share(p: float, images: int, shift: int = 0) -> list[bool]:
    """So many of the images, evenly spread."""
    return [math.floor((n + 1 + shift) * p) > math.floor((n + shift) * p) for n in range(images)]


def width(found: Resampled, *args: object, **options: object) -> float:
    interval = found.interval(*args, **options)  # type: ignore[arg-type]
    assert interval is not None
    return interval.half_width


@pytest.mark.parametrize(("p", "images"), [(0.9, 901), (0.5, 400), (0.97, 5000)])
def test_the_interval_of_an_accuracy_is_binomial(p: float, images: int) -> None:
    found = resample([trial("best", 1, {"accuracy": share(p, images)})], FewShot())
    assert width(found, "best", [1]) == pytest.approx(
        1.96 * math.sqrt(p * (1 - p) / images), rel=0.06
    )


def test_seeds_that_are_right_on_the_same_images_are_as_unsure_as_one() -> None:
    same = [trial("best", seed, {"accuracy": share(0.9, 900)}) for seed in (1, 2, 3)]
    assert width(resample(same, FewShot()), "best", [1, 2, 3]) == pytest.approx(
        1.96 * math.sqrt(0.9 * 0.1 / 900), rel=0.06
    )


def test_the_harmonic_mean_varies_as_the_delta_method_says() -> None:
    base, new, images = 0.9, 0.6, (500, 800)
    parts = {"base": share(base, images[0]), "new": share(new, images[1])}
    # The derivative of the harmonic mean by one accuracy is twice the square of the other's share.
    slopes = [2 * (other / (base + new)) ** 2 for other in (new, base)]
    variance = sum(
        (slope**2) * p * (1 - p) / n
        for slope, p, n in zip(slopes, (base, new), images, strict=True)
    )
    found = resample([trial("best", 1, parts)], BaseToNew())
    assert width(found, "best", [1]) == pytest.approx(1.96 * math.sqrt(variance), rel=0.06)
    assert width(found, "best", [1], "new") == pytest.approx(
        1.96 * math.sqrt(new * (1 - new) / images[1]), rel=0.06
    )


def test_competing_names_are_scored_on_images_of_each_class_drawn_again() -> None:
    rng = np.random.default_rng(3)
    one = Competition(
        *(rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], 12), rng.random(12) < 0.7, np.arange(12) % 3),
        *(rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], 8), rng.random(8) < 0.6, np.arange(8) % 2),
    )
    for draw in range(20):
        rng = np.random.default_rng(draw)
        rows = [
            np.concatenate([rng.choice(np.flatnonzero(own == c), sum(own == c)) for c in set(own)])
            for own in (one.seen_labels, one.unseen_labels)
        ]
        copy = Competition(
            *(column[rows[0]] for column in (one.seen_gap, one.seen_right, one.seen_labels)),
            *(column[rows[1]] for column in (one.unseen_gap, one.unseen_right, one.unseen_labels)),
        )
        counts = [np.bincount(own, minlength=n)[None] for own, n in zip(rows, (12, 8), strict=True)]
        (mean,), (area,) = drawn_again(one, *counts)
        assert mean == pytest.approx(hmean(*accuracies([copy])))
        assert area == pytest.approx(ausuc([copy]))


def test_h_and_its_area_have_an_interval_over_images() -> None:
    def competing(label: str, gap: float) -> TrialResult:
        predictions = [
            Prediction(part, f"{n:04d}.png", name, name, 1.0, n % 10 > 0, sign * gap + n % 7 - 3)
            for part, sign in (("base", 1), ("new", -1))
            for n in range(400)
            for name in [f"{part} {n % 4}"]
        ]
        return TrialResult.model_construct(label=label, seed=1, outcomes=outcomes_of(predictions))

    found = resample([competing("best", 2.0), competing("other", 9.0)], BaseToNew())
    for name, expected in (("generalized", 0.9), ("ausuc", 0.81)):
        far = found.interval("other", [1], name)
        near = found.interval("best", [1], name)
        assert far is not None
        assert near is not None
        assert far.low < expected < far.high, "no name of the other kind comes near"
        assert near.high < far.high
    spread = math.sqrt(0.9 * 0.1 / 400 / 2)
    assert width(found, "other", [1], "generalized") == pytest.approx(1.96 * spread, rel=0.08)


class ClassAveraged(FewShot):
    class_averaged = True


def test_an_average_over_classes_draws_each_class_apart() -> None:
    # Class 0 has 10 images of 1,000, and half the weight.
    right = [n % 2 == 0 for n in range(10)] + [n % 10 > 0 for n in range(990)]
    predictions = [
        Prediction("accuracy", f"{n}.png", name, name if hit else "c", 1.0)
        for n, hit in enumerate(right)
        for name in ["a" if n < 10 else "b"]
    ]
    own = TrialResult.model_construct(label="best", seed=1, outcomes=outcomes_of(predictions))
    variance = (0.5 * 0.5 / 10 + 0.9 * 0.1 / 990) / 4
    assert width(resample([own], ClassAveraged()), "best", [1]) == pytest.approx(
        1.96 * math.sqrt(variance), rel=0.1
    )
    assert width(resample([own], FewShot()), "best", [1]) < 0.03


def test_a_paired_difference_is_of_the_same_images_and_none_of_equal_predictions() -> None:
    right = share(0.8, 600)
    better = [hit or n % 30 == 5 for n, hit in enumerate(right)]
    found = resample(
        [
            *(trial("best", seed, {"accuracy": right}) for seed in (1, 2)),
            *(trial("twin", seed, {"accuracy": right}) for seed in (1, 2)),
            *(trial("better", seed, {"accuracy": better}) for seed in (1, 2)),
        ],
        FewShot(),
    )
    # Two pseudo-images of each seed are all that sets them apart.
    of_one_seed = 1.96 * 2**0.5 / 602
    assert width(found, "best", [1], less="twin") == pytest.approx(of_one_seed, rel=0.2)
    of_both = of_one_seed / 2**0.5
    assert width(found, "best", [1, 2], less="twin") == pytest.approx(of_both, rel=0.2)
    gained = np.subtract(better, right, dtype=float)
    known = 1.96 * gained.std() / math.sqrt(600)
    assert gained.sum() == 20
    assert width(found, "better", [1, 2], less="best") == pytest.approx(known, rel=0.1)
    assert known < width(found, "better", [1, 2]) / 2


def test_a_weighted_sum_is_of_the_same_images() -> None:
    shares = {"none": 0.5, "first": 0.6, "second": 0.7, "both": 0.9}
    right = {label: share(p, 900, shift) for shift, (label, p) in enumerate(shares.items())}
    found = resample(
        [trial(label, 1, {"accuracy": hits}) for label, hits in right.items()], FewShot()
    )
    terms = [("both", 1), ("first", -1), ("second", -1), ("none", 1)]
    values = sum(weight * np.array(right[label], float) for label, weight in terms)
    drawn = found.weighted(terms, [1])
    assert drawn is not None
    assert drawn.scores.shape == (2000, 1)
    assert drawn.df == 899
    assert drawn.scores.mean() == pytest.approx(values.mean())
    assert drawn.scores.std() == pytest.approx(np.std(values) / math.sqrt(len(values)), rel=0.06)
    assert found.weighted([*terms, ("another", 1)], [1]) is None


def test_it_is_the_bootstrap_of_scipy() -> None:
    one, other = np.array(share(0.8, 300)), np.array(share(0.7, 300, shift=1))
    known = stats.bootstrap(
        (one, other),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    trials = [trial("one", 1, {"accuracy": one}), trial("other", 1, {"accuracy": other})]
    found = resample(trials, FewShot()).interval("one", [1], less="other")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.008)


def test_targets_are_drawn_apart_and_the_score_is_their_mean() -> None:
    parts = {"accuracy": share(0.9, 400), "dtd": share(0.5, 400), "pets": share(0.5, 400)}
    found = resample([trial("best", 1, parts)], Transfer())
    single = 1.96 * math.sqrt(0.25 / 400)
    assert width(found, "best", [1], "dtd") == pytest.approx(single, rel=0.06)
    assert width(found, "best", [1]) == pytest.approx(single / math.sqrt(2), rel=0.06)
    assert width(found, "best", [1], "source") < single


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="no such trial"),
        pytest.param([TrialResult.model_construct(label="b", seed=1, outcomes=None)], id="no file"),
        pytest.param([trial("b", 1, {"accuracy": share(0.5, 99)})], id="fewer images"),
        pytest.param([trial("b", 1, {"accuracy": share(0.5, 100)}, 5)], id="other classes"),
    ],
)
def test_without_predictions_of_the_same_images_there_is_no_interval(
    others: list[TrialResult],
) -> None:
    found = resample([trial("a", 1, {"accuracy": share(0.5, 100)}), *others], FewShot())
    assert found.interval("a", [1]) is not None
    assert found.interval("a", [1], less="b") is None
    assert found.interval("a", [1, 2]) is None
    assert found.interval("a", [1], "hmean") is None


def test_it_is_the_same_every_time() -> None:
    trials = [trial("a", 1, {"accuracy": share(0.5, 999)})]
    first, second = (resample(trials, FewShot()).interval("a", [1]) for _ in range(2))
    assert first == second != resample(trials, FewShot(), seed=1).interval("a", [1])


@pytest.mark.parametrize("base_to_new", [False, True])
def test_a_leaderboard_has_an_interval_over_images_of_every_score_and_difference(
    make_study: Callable[..., Path], base_to_new: bool
) -> None:
    folder = keep_predictions(add_answer(make_study(base_to_new=base_to_new)))
    board = leaderboard(read_results(folder))
    assert board.winner is not None
    for entry in board.entries:
        assert entry.test.images is not None
        assert all(entry.parts[part].images is not None for part in board.parts)
        versus = board.difference(board.winner, entry)
        assert versus is None or versus.difference.images is not None


def test_a_protocol_with_a_score_of_its_own_is_asked_for_it() -> None:
    class Worst(FewShot):
        def score(self, parts: dict[str, float]) -> dict[str, float]:  # type: ignore[override]
            return {**parts, "score": min(parts.values())}

    protocol: Protocol = Worst()
    parts = {"a": share(0.9, 200), "b": share(0.5, 200)}
    found = resample([trial("best", 1, parts)], protocol)
    assert found.interval("best", [1]) == found.interval("best", [1], "b")
