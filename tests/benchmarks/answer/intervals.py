"""Do the printed 95 % intervals cover the truth, and how often are equals called different?

    python tests/benchmarks/answer/intervals.py [--studies 1000]

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.protocols import FewShot
from study.results.intervals import MeanInterval
from study.results.resampling import Resampled, resample
from study.results.statistics import is_significant
from study.results.training_images import mean_overlap
from study.results.trial_results import TrialResult
from study.trial.predictions import Outcomes
from tests.benchmarks.measuring import machine, table

CLASSES, DIMENSIONS, SHOTS = 10, 16, 8
POOLS = {"10": 10, "20": 20, "fresh": 0}
"""The labelled images of a class, of which each seed draws its shots."""
SEEDS, IMAGES = (3, 5, 10), (60, 300, 3000)
MODELS, POPULATION, STUDIES_A_POOL = 60, 10_000, 5
CELLS = 13
DRAWS = 500
"""Sets of test images that are drawn again; the product draws 2,000."""


class Candidate(NamedTuple):
    """How a configuration learns."""

    prior: float
    """The weight of CLIP's text feature in a prototype, beside the mean of the shots."""
    noise: float
    """The standard deviation of the noise of training, in each dimension of a prototype."""


CANDIDATES = {
    "base": Candidate(prior=0.3, noise=0.25),
    "equal": Candidate(prior=0.3, noise=0.25),
    # About one point better; its truth is computed, not supposed.
    "better": Candidate(prior=0.5, noise=0.15),
}
RIVALS = {"equal": "difference 0", "better": "difference 1"}
"""The columns of the difference of each candidate to the base."""
Record = dict[str, float]
"""What is true of one study with so many seeds, by column."""
Shots = tuple[np.ndarray, list[set[str]]]
"""The shots of models, ``(models, classes, shots, dimensions)``, and the names of their images."""


class World:
    """Ten Gaussian classes, their text features, and a population of test images."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.means = rng.normal(0, 0.95, (CLASSES, DIMENSIONS))
        self.texts = self.means + rng.normal(0, 0.5, self.means.shape)
        self.labels = np.arange(POPULATION) % CLASSES
        self.images = self._draw(self.labels, rng).astype(np.float32)

    def _draw(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw an image of each label, ``(images, dimensions)``."""
        return self.means[labels] + rng.normal(0, 1, (len(labels), DIMENSIONS))

    def draw_shots(self, pool_size: int, models: int, rng: np.random.Generator) -> Shots:
        """Draw the shots of models from a new pool, or of new images where its size is 0."""
        size = pool_size or models * SHOTS
        pool = self._draw(np.repeat(np.arange(CLASSES), size), rng)
        pool = pool.reshape(CLASSES, size, DIMENSIONS)
        if not pool_size:
            shots = pool.reshape(CLASSES, models, SHOTS, DIMENSIONS).swapaxes(0, 1)
            return shots, [{str(model)} for model in range(models)]
        order = rng.random((models, CLASSES, pool_size)).argsort(axis=2)[:, :, :SHOTS]
        names = []
        for rows in order:
            names.append({f"{label}/{image}" for label in range(CLASSES) for image in rows[label]})
        return pool[np.arange(CLASSES)[None, :, None], order], names

    def learn(
        self, shots: np.ndarray, candidate: Candidate, rng: np.random.Generator
    ) -> np.ndarray:
        """Return prototypes, ``(models, classes, dimensions)``, of the shots of each model."""
        mean = shots.mean(axis=2)
        prototypes = (1 - candidate.prior) * mean + candidate.prior * self.texts
        return prototypes + rng.normal(0, candidate.noise, prototypes.shape)

    def right(self, prototypes: np.ndarray, rows: Any = slice(None)) -> Any:
        """Return what models are right on, ``(models, images)``."""
        images, labels = self.images[rows], self.labels[rows]
        weights = prototypes.astype(np.float32)
        logits = np.einsum("nd,mcd->mnc", images, weights, optimize=True)
        logits -= (weights**2).sum(axis=2)[:, None] / 2
        return logits.argmax(axis=2) == labels


@dataclass(frozen=True)
class SimulatedStudy:
    """The accuracies of a study by label and seed, with the images drawn again."""

    resampled: Resampled
    scores: Mapping[str, Mapping[int, float]]

    @classmethod
    def test(cls, right: Mapping[str, np.ndarray], number: int) -> SimulatedStudy:
        """Score what the seeds of each label are right on, and draw the test images again."""
        trials = []
        scores: dict[str, dict[int, float]] = {}
        for label, hits in right.items():
            scores[label] = dict(enumerate(hits.mean(axis=1).tolist()))
            for seed, hit in enumerate(hits):
                outcomes = Outcomes("test", {("accuracy", "all"): hit})
                fields: dict[str, Any] = {"label": label, "seed": seed, "outcomes": outcomes}
                trials.append(TrialResult.model_construct(**fields))
        return cls(resample(trials, FewShot(), draws=DRAWS, seed=number), scores)

    def first(self, seeds: int, names: Sequence[set[str]]) -> SimulatedStudy:
        """Return the study with its first seeds alone; names are the images of each seed."""
        overlap = mean_overlap(names[:seeds])
        scores = {}
        for label, of_seeds in self.scores.items():
            scores[label] = {seed: of_seeds[seed] for seed in range(seeds)}
        resampled = Resampled(self.resampled.images, self.resampled.scores, overlap)
        return SimulatedStudy(resampled, scores)


class Pool(NamedTuple):
    """The models of a pool, and what they are right on in the whole population."""

    right: Mapping[str, np.ndarray]
    names: Sequence[set[str]]
    truth: Mapping[str, float]
    """The mean score of all models, by candidate."""


def make_pool(world: World, size: int, rng: np.random.Generator) -> Pool:
    """Let models of each candidate learn from a new pool."""
    shots, names = world.draw_shots(size, MODELS, rng)
    right, truth = {}, {}
    for label, candidate in CANDIDATES.items():
        right[label] = world.right(world.learn(shots, candidate, rng))
        truth[label] = float(right[label].mean())
    return Pool(right, names, truth)


def coverage_records(world: World, pool_name: str, images: int, studies: int) -> list[Record]:
    """Return whether intervals of studies cover the truth, a record for each number of seeds."""
    rng = np.random.default_rng([1, list(POOLS).index(pool_name), images, 0])
    pools = []
    for _ in range(studies // STUDIES_A_POOL):
        pools.append(make_pool(world, POOLS[pool_name], rng))
    overall = {}
    for label in CANDIDATES:
        overall[label] = float(np.mean([pool.truth[label] for pool in pools]))
    records = []
    for number in range(len(pools) * STUDIES_A_POOL):
        pool = pools[number // STUDIES_A_POOL]
        rows = rng.integers(POPULATION, size=images)
        models = rng.integers(MODELS, size=max(SEEDS))
        right = {label: hits[np.ix_(models, rows)] for label, hits in pool.right.items()}
        names = [pool.names[model] for model in models]
        whole = SimulatedStudy.test(right, number)
        for seeds in SEEDS:
            study = whole.first(seeds, names)
            record = {"seeds": seeds, "shared %": study.resampled.overlap or 0.0}
            base, true, everywhere = study.scores["base"], pool.truth["base"], overall["base"]
            mean = study.resampled.mean_interval("base", base)
            record |= _coverage("score", mean, true, everywhere)
            for label, name in RIVALS.items():
                paired = study.resampled.difference(label, study.scores[label], "base", base)
                assert paired is not None
                distances = pool.truth[label] - true, overall[label] - everywhere
                record |= _coverage(name, paired.difference, *distances)
                record[f"{name} seen"] = not paired.within_noise
            records.append(record)
    return records


def _coverage(name: str, mean: MeanInterval, truth: float, everywhere: float) -> Record:
    """Return whether the intervals of one mean cover the truth."""
    assert mean.low is not None
    assert mean.high is not None
    record: Record = {name: mean.low <= truth <= mean.high}
    if mean.wider is not None:
        record[f"{name}, wider"] = mean.wider.low <= everywhere <= mean.wider.high
    return record


def equals_records(world: World, pool_name: str, images: int, studies: int) -> list[Record]:
    """Return whether equals are called different, a record for each number of seeds."""
    rng = np.random.default_rng([2, list(POOLS).index(pool_name), images])
    records: list[Record] = []
    for number in range(studies):
        shots, names = world.draw_shots(POOLS[pool_name], max(SEEDS), rng)
        rows = rng.integers(POPULATION, size=images)
        right = {}
        for cell in range(CELLS + 1):
            right[f"cell {cell}"] = world.right(world.learn(shots, CANDIDATES["base"], rng), rows)
        whole = SimulatedStudy.test(right, number)
        for seeds in SEEDS:
            study = whole.first(seeds, names)
            compared = study.resampled.compare(study.scores, "cell 0")
            beyond = not compared["cell 1"].paired.within_noise
            named = any(map(is_significant, compared.values()))
            records.append({"seeds": seeds, COLUMNS[-2]: beyond, COLUMNS[-1]: named})
    return records


COLUMNS = [
    *("shared %", "score", "difference 0", "difference 1"),
    *("difference 0, wider", "difference 1, wider", "difference 1 seen"),
    *("equal pair beyond noise", f"one of {CELLS} equal cells named"),
]


def main() -> None:
    """Count every cell, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    world, began = World(), time.monotonic()
    print(machine(), flush=True)
    rows = []
    for images, pool in product(IMAGES, POOLS):
        records = coverage_records(world, pool, images, studies)
        records += equals_records(world, pool, images, studies)
        shares = pd.DataFrame(records).astype(float).groupby("seeds").mean()
        for seeds, row in shares.reindex(columns=COLUMNS).iterrows():
            cells = [f"{100 * share:.1f}".replace("nan", "–") for share in row]
            rows.append([pool, f"{seeds:.0f}", f"{images:,}", *cells])
    print(table("Shares of studies in %", ["pool", "seeds", "images", *COLUMNS], rows))
    print(f"{studies} studies a cell, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
