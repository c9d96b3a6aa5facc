"""Test images are drawn again, the same for all trials, and scored as the protocol does."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from study.config.trial_settings import Head, TrialSettings
from study.protocols import BaseToNew, FewShot, Protocol
from study.protocols.competition import (
    Competition,
    Competitors,
    accuracies,
    hmean,
    resample_hmean,
)
from study.results.intervals import Interval
from study.results.resampling import Resampled, recall_intervals, resample
from study.results.trial_results import TrialResult
from study.trial.predictions import outcomes_of
from study.trial.study import Prediction
from tests.not_none import not_none
from tests.results.conftest import partial_result

Right = Mapping[str, Sequence[bool]]


def trial(label: str, seed: int, right: Right, classes: int = 4) -> TrialResult:
    """A tested trial with what it gets right in each part; image n is of class n % classes."""
    predictions = []
    for part, hits in right.items():
        for n, hit in enumerate(hits):
            true = f"class {n % classes}"
            taken = true if hit else "another"
            predictions.append(Prediction("text", part, f"{n:05d}.png", true, taken, 1.0))
    return partial_result(label=label, seed=seed, outcomes=outcomes_of(reversed(predictions)))


def share(p: float, images: int, shift: int = 0) -> list[bool]:
    """So many of the images, evenly spread."""
    return [math.floor((n + 1 + shift) * p) > math.floor((n + shift) * p) for n in range(images)]


def image_interval(
    found: Resampled, label: str, seeds: Sequence[int], name: str = "score", less: str | None = None
) -> Interval | None:
    """The percentile interval, over test images alone, of a mean or of a difference."""
    terms = [(label, 1.0)] if less is None else [(label, 1.0), (less, -1.0)]
    drawn = found.weighted_draws(terms, seeds, name)
    if drawn is None:
        return None
    return Interval(*np.quantile(drawn.scores.mean(axis=1), [0.025, 0.975]).tolist())


def width(*args: Any, **options: Any) -> float:
    interval = image_interval(*args, **options)
    assert interval is not None
    return (interval.high - interval.low) / 2


def test_the_harmonic_mean_varies_as_the_delta_method_says():
    base, new, images = 0.9, 0.6, (500, 800)
    parts = {"base": share(base, images[0]), "new": share(new, images[1])}
    # The derivative of the harmonic mean by one accuracy is twice the square of the other's share.
    variance = 0.0
    for p, other, n in ((base, new, images[0]), (new, base, images[1])):
        slope = 2 * (other / (base + new)) ** 2
        variance += slope**2 * p * (1 - p) / n
    found = resample([trial("best", 1, parts)], BaseToNew())
    assert width(found, "best", [1]) == pytest.approx(1.96 * math.sqrt(variance), rel=0.06)
    assert width(found, "best", [1], "new") == pytest.approx(
        1.96 * math.sqrt(new * (1 - new) / images[1]), rel=0.06
    )


def test_competing_names_are_scored_on_images_of_each_class_drawn_again():
    rng = np.random.default_rng(3)
    gaps = [-1.0, -0.5, 0.0, 0.5, 1.0]
    seen = Competitors(rng.choice(gaps, 12), rng.random(12) < 0.7, np.arange(12) % 3)
    unseen = Competitors(rng.choice(gaps, 8), rng.random(8) < 0.6, np.arange(8) % 2)
    for draw in range(20):
        rng = np.random.default_rng(draw)
        kinds = []
        counts: list[Any] = []
        for gap, right, labels in (seen, unseen):
            of_class = [np.flatnonzero(labels == c) for c in np.unique(labels)]
            rows = np.concatenate([rng.choice(own, len(own)) for own in of_class])
            kinds.append(Competitors(gap[rows], right[rows], labels[rows]))
            counts.append(np.bincount(rows, minlength=len(labels))[None])
        copy = Competition(*kinds)
        (mean,) = resample_hmean(Competition(seen, unseen), *counts)
        assert mean == pytest.approx(hmean(*accuracies([copy])))


def test_h_has_an_interval_over_images():
    predictions = []
    for n in range(800):
        part, gap = ("base", 9.0) if n < 400 else ("new", -9.0)
        name = f"{part} {n % 4}"
        predictions.append(
            Prediction("text", part, f"{n:04d}.png", name, name, 1.0, n % 10 > 0, gap)
        )
    own = partial_result(label="best", seed=1, outcomes=outcomes_of(predictions))
    found = resample([own], BaseToNew())
    spread = math.sqrt(0.9 * 0.1 / 400 / 2)
    assert width(found, "best", [1], "generalized") == pytest.approx(1.96 * spread, rel=0.08)


def test_a_paired_difference_is_of_the_same_images_and_none_of_equal_predictions():
    right = share(0.8, 600)
    better = [hit or n % 30 == 5 for n, hit in enumerate(right)]
    trials = []
    for label, hits in (("best", right), ("twin", right), ("better", better)):
        trials += [trial(label, seed, {"accuracy": hits}) for seed in (1, 2)]
    found = resample(trials, FewShot())
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


def test_a_weighted_sum_is_of_the_same_images():
    shares = {"none": 0.5, "first": 0.6, "second": 0.7, "both": 0.9}
    right = {label: share(p, 900, shift) for shift, (label, p) in enumerate(shares.items())}
    found = resample(
        [trial(label, 1, {"accuracy": hits}) for label, hits in right.items()], FewShot()
    )
    terms = [("both", 1), ("first", -1), ("second", -1), ("none", 1)]
    values = np.sum([weight * np.array(right[label], float) for label, weight in terms], axis=0)
    drawn = not_none(found.weighted_draws(terms, [1]))
    assert (drawn.scores.shape, drawn.df) == ((2000, 1), 899)
    assert drawn.scores.mean() == pytest.approx(values.mean())
    assert drawn.scores.std() == pytest.approx(np.std(values) / math.sqrt(len(values)), rel=0.06)
    assert found.weighted_draws([*terms, ("another", 1)], [1]) is None


def test_the_recall_of_a_class_varies_over_seeds_and_images():
    right = {seed: share(p, 200) for seed, p in enumerate((0.7, 0.8, 0.9))}
    for hits in right.values():
        hits.append(True)  # the one image of a class of its own
    trials = []
    for seed, hits in right.items():
        predictions = []
        for n, hit in enumerate(hits):
            true = "alone" if n == 200 else f"class {n % 2}"
            taken = true if hit else "-"
            predictions.append(Prediction("text", "accuracy", f"{n:03}", true, taken, 1.0))
        one = partial_result(
            label="best", seed=seed, trainable=1, outcomes=outcomes_of(predictions)
        )
        trials.append(one)
    found = recall_intervals(trials)
    assert found.keys() == {("accuracy", "class 0"), ("accuracy", "class 1")}
    for number, recall in enumerate(found.values()):
        seeds = [np.mean(hits[number:200:2]) for hits in right.values()]
        assert recall.mean == pytest.approx(np.mean(seeds))
        t_interval = stats.t.ppf(0.975, 2) * stats.sem(seeds)
        assert not_none(recall.low) < recall.mean - t_interval + 1e-6
    (one_seed, _) = recall_intervals(trials[:1]).values()
    assert one_seed.low is None
    assert one_seed.images


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="no such trial"),
        pytest.param([partial_result(label="b", seed=1, outcomes=None)], id="no file"),
        pytest.param([trial("b", 1, {"accuracy": share(0.5, 99)})], id="fewer images"),
        pytest.param([trial("b", 1, {"accuracy": share(0.5, 100)}, 5)], id="other classes"),
    ],
)
def test_without_predictions_of_the_same_images_there_is_no_interval(
    others: list[TrialResult],
):
    found = resample([trial("a", 1, {"accuracy": share(0.5, 100)}), *others], FewShot())
    assert image_interval(found, "a", [1]) is not None
    assert image_interval(found, "a", [1], less="b") is None
    assert image_interval(found, "a", [1, 2]) is None
    assert image_interval(found, "a", [1], "hmean") is None


def test_a_protocol_with_a_score_of_its_own_is_asked_for_it():
    class Worst(FewShot):
        def score(self, parts: dict[str, float]) -> dict[str, float]:  # type: ignore[override]
            return {**parts, "score": min(parts.values())}

    protocol: Protocol = Worst()
    parts = {"a": share(0.9, 200), "b": share(0.5, 200)}
    found = resample([trial("best", 1, parts)], protocol)
    assert image_interval(found, "best", [1]) == image_interval(found, "best", [1], "b")


@pytest.mark.parametrize("head, depends_on_images", [("text", False), ("linear", True)])
def test_a_head_that_is_trained_on_frozen_encoders_depends_on_the_training_images(
    head: Head, depends_on_images: bool
):
    own = TrialSettings(subset="none", head=head)
    trials = [
        partial_result(label="given", seed=seed, settings=own, trainable=0, test={"score": score})
        for seed, score in enumerate((0.5, 0.6, 0.7))
    ]
    (found,) = Resampled({}, {}, overlap=1.0).mean_intervals(trials, ["score"]).values()
    assert (found.low is None) == depends_on_images, "all seeds have the same"
