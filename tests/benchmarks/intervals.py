"""Do the printed 95 % intervals cover the truth, and how often are equals called different?

    python tests/benchmarks/intervals.py [--studies 1000]

Simulated studies of learned prototypes on ten Gaussian classes go through the functions that every
table and verdict comes from (`study.results.resampling`). A seed learns from 8 images a class of a
pool of labelled images; "fresh" means that each seed has images of its own. All seeds of a study
are tested on the same images.

The truth is known. Test images are drawn from a finite population, and the seeds of a study from a
finite number of models, so that a true accuracy is a mean over all of them:

- The interval covers the mean over the models of the study's pool: other draws from the labelled
  images at hand.
- Where seeds share more than 60 % of their images, the wider one covers the mean over all pools.

Equals differ by the noise of training alone, which is drawn anew for each study. So they are
exactly equal, whatever the pool.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from paired import machine, table

from study.protocols import BaseToNew, FewShot, Protocol
from study.results.intervals import MeanInterval
from study.results.resampling import Resampled, resample
from study.results.statistics import PairedDifference
from study.results.training_images import mean_overlap
from study.results.trial_results import TrialResult
from study.trial.predictions import Outcomes

CLASSES, DIMENSIONS, SHOTS = 10, 16, 8
POOLS = {"10": 10, "20": 20, "fresh": 0}
SEEDS, IMAGES = (3, 5, 10), (60, 300, 3000)
MOST_SEEDS = max(SEEDS)
MODELS, POPULATION, STUDIES_A_POOL = 60, 10_000, 5
CELLS = 13
DRAWS = 500
"""Sets of test images that are drawn again; the product draws 2,000."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Candidate:
    """How a configuration learns."""

    label: str
    prior: float
    """The weight of CLIP's text feature in a prototype, beside the mean of the shots."""
    noise: float
    """The standard deviation of the noise of training, in each dimension of a prototype."""


BASE = Candidate("base", prior=0.3, noise=0.25)
EQUAL = Candidate("equal", prior=0.3, noise=0.25)
BETTER = Candidate("better", prior=0.5, noise=0.15)
"""About one point better; its truth is computed, not supposed."""


class World:
    """Ten Gaussian classes, their text features, and a population of test images."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.means = rng.normal(0, 0.95, (CLASSES, DIMENSIONS))
        self.texts = self.means + rng.normal(0, 0.5, self.means.shape)
        self.labels = np.arange(POPULATION) % CLASSES
        self.images = self.draw(self.labels, rng).astype(np.float32)

    def draw(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw an image of each label, ``(images, dimensions)``."""
        return self.means[labels] + rng.normal(0, 1, (len(labels), DIMENSIONS))

    def pool(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the labelled images of a pool, ``(classes, size, dimensions)``."""
        labels = np.repeat(np.arange(CLASSES), size)
        return self.draw(labels, rng).reshape(CLASSES, size, DIMENSIONS)

    def learn(
        self, shots: np.ndarray, candidate: Candidate, rng: np.random.Generator
    ) -> np.ndarray:
        """Return prototypes, ``(models, classes, dimensions)``, of the shots of each model."""
        mean = shots.mean(axis=2)
        prototypes = (1 - candidate.prior) * mean + candidate.prior * self.texts
        return prototypes + rng.normal(0, candidate.noise, prototypes.shape)

    def right(
        self,
        prototypes: np.ndarray,
        rows: np.ndarray | slice = slice(None),
        halves: bool = False,
    ) -> np.ndarray:
        """Return what models are right on, ``(models, images)``, among all names or in halves."""
        images, labels = self.images[rows], self.labels[rows]
        own = prototypes.astype(np.float32)
        logits = np.einsum("nd,mcd->mnc", images, own, optimize=True)
        logits -= (own**2).sum(axis=2)[:, None] / 2
        if halves:
            other = (np.arange(CLASSES) < CLASSES // 2) != (labels < CLASSES // 2)[:, None]
            logits[:, other] = -np.inf
        return logits.argmax(axis=2) == labels


def drawn_shots(
    world: World, pool_size: int, models: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[set[tuple[int, int]]]]:
    """Return the shots of models, and the images of each by class and number.

    Args:
        world: where images are from.
        pool_size: the labelled images of a class; 0 means images of its own for each model.
        models: how many models draw.
        rng: the generator that draws.

    Returns:
        The shots, ``(models, classes, shots, dimensions)``, and a set for each model.
    """
    if not pool_size:
        fresh = world.pool(models * SHOTS, rng)
        shots = fresh.reshape(CLASSES, models, SHOTS, DIMENSIONS).swapaxes(0, 1)
        return shots, [{(0, model)} for model in range(models)]
    pool = world.pool(pool_size, rng)
    order = rng.random((models, CLASSES, pool_size)).argsort(axis=2)[:, :, :SHOTS]
    shots = pool[np.arange(CLASSES)[None, :, None], order]
    paths = [{(c, int(i)) for c in range(CLASSES) for i in own[c]} for own in order]
    return shots, paths


def outcomes(right: np.ndarray, labels: np.ndarray, halves: bool) -> Outcomes:
    """Return what a model is right on, as a trial keeps it."""
    if not halves:
        return Outcomes("test", {("accuracy", "all"): right})  # type: ignore[dict-item]
    base = labels < CLASSES // 2
    parts = {("base", "all"): right[base], ("new", "all"): right[~base]}
    return Outcomes("test", parts)  # type: ignore[arg-type]


def score(protocol: Protocol, own: Outcomes) -> float:
    """Return a trial's score."""
    return protocol.score({part: float(np.mean(hits)) for (part, _), hits in own.right.items()})[
        "score"
    ]


@dataclass(frozen=True)
class SimulatedStudy:
    """What a study tested: scores by label and seed, with the images drawn again."""

    protocol: Protocol
    outcomes: Mapping[str, Sequence[Outcomes]]
    paths: Sequence[set[tuple[int, int]]]

    def first(self, seeds: int, rng_seed: int) -> tuple[Resampled, dict[str, dict[int, float]]]:
        """Return the study with its first seeds."""
        trials = []
        for label, own in self.outcomes.items():
            for seed in range(seeds):
                fields: dict[str, Any] = {"label": label, "seed": seed, "outcomes": own[seed]}
                trials.append(TrialResult.model_construct(**fields))
        shared = mean_overlap([{str(path) for path in own} for own in self.paths[:seeds]])
        scores = {
            label: {seed: score(self.protocol, own[seed]) for seed in range(seeds)}
            for label, own in self.outcomes.items()
        }
        resampled = resample(trials, self.protocol, overlap=shared, draws=DRAWS, seed=rng_seed)
        return resampled, scores


def with_seeds(
    resampled: Resampled, scores: Mapping[str, Mapping[int, float]], paths: Sequence, seeds: int
) -> tuple[Resampled, dict[str, dict[int, float]]]:
    """Return a study as if it had its first seeds alone."""
    shared = mean_overlap([{str(path) for path in own} for own in paths[:seeds]])
    fewer = Resampled(resampled.images, resampled.scores, shared)
    return fewer, {k: {s: v for s, v in own.items() if s < seeds} for k, own in scores.items()}


def covers(interval: tuple[float, float], truth: float) -> bool:
    """Return whether an interval contains the truth."""
    return interval[0] <= truth <= interval[1]


def count_coverage(
    world: World, pool: str, images: int, studies: int, halves: bool
) -> dict[str, dict[str, float]]:
    """Return counts over studies, by the number of seeds."""
    rng = np.random.default_rng([1, list(POOLS).index(pool), images, halves])
    protocol: Protocol = BaseToNew() if halves else FewShot()
    pools = [
        _pool(world, POOLS[pool], rng, halves, protocol) for _ in range(studies // STUDIES_A_POOL)
    ]
    overall = {c.label: float(np.mean([one.truth[c.label] for one in pools])) for c in CANDIDATES}
    counts: dict[str, Counter[str]] = {str(seeds): Counter() for seeds in SEEDS}
    for number, one in enumerate(pools):
        for again in range(STUDIES_A_POOL):
            rows = rng.integers(POPULATION, size=images)
            chosen = rng.integers(MODELS, size=MOST_SEEDS)
            labels = world.labels[rows]
            hits = {
                label: [outcomes(right[model][rows], labels, halves) for model in chosen]
                for label, right in one.right.items()
            }
            paths = [one.paths[model] for model in chosen]
            study = SimulatedStudy(protocol, hits, paths)
            whole = study.first(MOST_SEEDS, number * STUDIES_A_POOL + again)
            for seeds in SEEDS:
                _count(counts[str(seeds)], *with_seeds(*whole, paths, seeds), one.truth, overall)
    return {seeds: dict(own) for seeds, own in counts.items()}


CANDIDATES = (BASE, EQUAL, BETTER)
PAIRS = {"equal": "about 0", "better": "about 1"}


@dataclass(frozen=True)
class Pool:
    """The models of a pool, on the whole population."""

    right: Mapping[str, np.ndarray]
    paths: Sequence[set[tuple[int, int]]]
    truth: Mapping[str, float]


def _pool(
    world: World, size: int, rng: np.random.Generator, halves: bool, protocol: Protocol
) -> Pool:
    shots, paths = drawn_shots(world, size, MODELS, rng)
    right = {c.label: world.right(world.learn(shots, c, rng), halves=halves) for c in CANDIDATES}
    truth = {}
    for label, own in right.items():
        each = [score(protocol, outcomes(model, world.labels, halves)) for model in own]
        truth[label] = float(np.mean(each))
    return Pool(right, paths, truth)


def _count(
    counts: Counter[str],
    resampled: Resampled,
    scores: Mapping[str, Mapping[int, float]],
    truth: Mapping[str, float],
    overall: Mapping[str, float],
) -> None:
    """Count one study."""
    counts["studies"] += 1
    counts["shared"] += resampled.overlap or 0.0  # type: ignore[assignment]
    base = scores[BASE.label]
    own = resampled.mean_interval(BASE.label, base)
    _count_interval(counts, "score", own, truth[BASE.label], overall[BASE.label])
    for label in PAIRS:
        paired = resampled.difference(label, scores[label], BASE.label, base)
        assert paired is not None
        true = truth[label] - truth[BASE.label]
        everywhere = overall[label] - overall[BASE.label]
        _count_interval(counts, label, paired.difference, true, everywhere)
        counts[f"{label} beyond"] += not paired.within_noise


def _count_interval(
    counts: Counter[str],
    name: str,
    found: MeanInterval,
    truth: float,
    everywhere: float,
) -> None:
    """Count whether the intervals of one mean cover the truth."""
    assert found.low is not None
    assert found.high is not None
    counts[f"{name} covered"] += covers((found.low, found.high), truth)
    if found.wider is not None:
        counts[f"{name} wider"] += 1
        wide = covers((found.wider.low, found.wider.high), everywhere)
        counts[f"{name} covered by wider"] += wide


def count_equals(world: World, pool: str, images: int, studies: int) -> dict[str, dict[str, float]]:
    """Return how often equals are called different, by the number of seeds."""
    rng = np.random.default_rng([2, list(POOLS).index(pool), images])
    counts: dict[str, Counter[str]] = {str(seeds): Counter() for seeds in SEEDS}
    cells = ["base", *(f"cell {number}" for number in range(CELLS))]
    for number in range(studies):
        shots, paths = drawn_shots(world, POOLS[pool], MOST_SEEDS, rng)
        rows = rng.integers(POPULATION, size=images)
        hits = {}
        for cell in cells:
            right = world.right(world.learn(shots, BASE, rng), rows)
            hits[cell] = [outcomes(own, world.labels[rows], False) for own in right]
        whole = SimulatedStudy(FewShot(), hits, paths).first(MOST_SEEDS, number)
        for seeds in SEEDS:
            resampled, scores = with_seeds(*whole, paths, seeds)
            compared = resampled.compare(scores, "base")
            own = counts[str(seeds)]
            own["studies"] += 1
            own["beyond"] += not compared["cell 0"].paired.within_noise
            own["named"] += any(_differs(c.paired, c.holm_p) for c in compared.values())
    return {seeds: dict(own) for seeds, own in counts.items()}


def _differs(paired: PairedDifference, holm_p: float | None) -> bool:
    """Return whether an ablation's table names a cell."""
    return not paired.within_noise and holm_p is not None and holm_p <= SIGNIFICANCE


def share(counts: Mapping[str, float], name: str, of: str = "studies") -> str:
    """Return a share of studies in percent."""
    return f"{100 * counts.get(name, 0) / counts[of]:.1f}" if counts.get(of) else "–"


def coverage_rows(pool: str, images: int, counts: Mapping[str, Mapping[str, float]]) -> list:
    """Return a row for each number of seeds."""
    rows = []
    for seeds, own in counts.items():
        row = [pool, f"{100 * own['shared'] / own['studies']:.0f}", seeds, f"{images:,}"]
        for name in ("score", *PAIRS):
            row.append(share(own, f"{name} covered"))
        row += [share(own, f"{name} covered by wider", f"{name} wider") for name in PAIRS]
        row += [share(own, "better beyond")]
        rows.append(row)
    return rows


COVERAGE_HEADER = [
    *("pool", "shared %", "seeds", "images", "score", "difference 0", "difference 1"),
    *("wider, 0", "wider, 1", "1 point seen"),
]


def main() -> None:
    """Count every cell, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    world, began = World(), time.monotonic()
    print(machine(), flush=True)
    rows, halves, equals = [], [], []
    for images in IMAGES:
        for pool in POOLS:
            rows += coverage_rows(pool, images, count_coverage(world, pool, images, studies, False))
            for seeds, own in count_equals(world, pool, images, studies).items():
                cells = [share(own, "beyond"), share(own, "named")]
                equals.append([pool, seeds, f"{images:,}", *cells])
    for images in IMAGES[1:]:
        halves += coverage_rows("20", images, count_coverage(world, "20", images, studies, True))
    print(table("Coverage of the 95 % interval, %", COVERAGE_HEADER, rows))
    print(table("The same of harmonic means", COVERAGE_HEADER, halves))
    header = ["pool", "seeds", "images", "a pair beyond noise", "an ablation names a cell"]
    print(table(f"Equals that are called different, %; {CELLS} cells", header, equals))
    print(f"{studies} studies a cell, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
