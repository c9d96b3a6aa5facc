"""Searches compared by replay: samplers and schedulers against a world that was recorded once.

    python tests/benchmarks/search/compare.py                    # every way to search
    python tests/benchmarks/search/compare.py --repetitions 5    # fewer of each
    python tests/benchmarks/search/compare.py --tiny             # after `record.py --tiny`

Whole searches are replayed against the surrogate of a world. Regret is how far the test score of
what validation would choose stays below the best: the highest mean test score that the rest of the
world predicts of a configuration.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import optuna
import torch

from study.search.samplers import Sampler, random, tpe
from study.trial import TrialData
from study.trial.prepare import Preparer
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.search.record import STUDIES, TINY, WORLDS
from tests.benchmarks.search.replayed_search import Step, load_study, replay
from tests.benchmarks.search.world import ENOUGH, World

MARKS = (40, 96)
"""The numbers of trials after which regret is shown."""
HEADER = ["search", "repetitions", "trials", "epochs"]
HEADER += [*(f"regret after {mark}" for mark in MARKS), "in the end"]


def together(seed: int) -> optuna.samplers.BaseSampler:
    """Return TPE for a space in which everything is chosen for every trial."""
    return optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)


def gaussian_process(seed: int) -> optuna.samplers.BaseSampler:
    """Return Optuna's Gaussian process."""
    return optuna.samplers.GPSampler(seed=seed)


class Way(NamedTuple):
    """A way to search."""

    sampler: Sampler
    changes: tuple[str, ...] = ()
    """What is different from the shipped configuration."""
    most: int = 200
    """The most repetitions, since some take long."""


WHOLE = "search.space.whole=true"
WAYS: Mapping[str, Way] = {
    "TPE, as shipped": Way(tpe),
    "TPE, patience": Way(tpe, ("search.patience=auto",)),
    "random": Way(random),
    "TPE, all choices of every trial": Way(together, (WHOLE,)),
    "Gaussian process, all choices of every trial": Way(gaussian_process, (WHOLE,), 30),
    "TPE, without CLIPFit's neighbours": Way(tpe, ("search.space.neighbours=false",)),
}


class Job(NamedTuple):
    """One replay."""

    study: str
    storage: Path
    changes: tuple[str, ...]
    way: str
    seed: int


def main() -> None:
    """Replay, and print a table for each study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", nargs="+", default=STUDIES, choices=STUDIES)
    parser.add_argument("--storage", type=Path, default=Path("runs/replay"), help="of the shots")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--trials", type=int, default=max(MARKS), help="of a search, at most")
    parser.add_argument("--only", nargs="+", metavar="WAY", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    storage, worlds = options.storage.resolve(), WORLDS
    changes: tuple[str, ...] = (f"search.trials={options.trials}",)
    if options.tiny:
        storage = worlds = storage / "tiny"
        changes = (*TINY, "search.trials=12")
    print(f"`{shlex.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    for study in options.studies:
        path = worlds / f"{study}.parquet"
        (storage / study).mkdir(parents=True, exist_ok=True)
        world = World.read(path)
        rows = []
        with multiprocessing.get_context("spawn").Pool(options.processes, _enter, (world,)) as pool:
            for name in options.only:
                count = min(options.repetitions, WAYS[name].most)
                jobs = [Job(study, storage, changes, name, 1 + turn) for turn in range(count)]
                rows.append([name, *cells_of(pool.map(replay_job, jobs, chunksize=1), world.best)])
                print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        print(table(title_of(study, world), HEADER, rows), flush=True)


_WORLD: list[World] = []
"""The world that this process replays."""


def _enter(world: World) -> None:
    torch.set_num_threads(1)
    _WORLD[:] = [world]


def replay_job(job: Job) -> list[Step]:
    """Replay one search of a study."""
    sampler, changes, _ = WAYS[job.way]
    name = f"search.sampler={sampler.__name__}"
    study = load_study(job.study, job.storage, (*job.changes, name, *changes))
    config = study.config.model_copy(update={"seed": job.seed})
    return replay(_WORLD[0], config, _data(job.study, job.storage, job.changes), sampler)


@cache
def _data(name: str, storage: Path, changes: tuple[str, ...]) -> TrialData:
    study = load_study(name, storage, changes)
    return Preparer(study, study.architecture.image_size).search()


def title_of(study: str, world: World) -> str:
    """Return what the world is, and how far its surrogate can be trusted."""
    validation, test = world.held_out
    title = (
        f"{study}: {len(world.rows)} configurations, best {100 * world.best:.1f} %, held-out rank "
        f"correlation {validation:.2f} on validation and {test:.2f} on test"
    )
    if min(validation, test) < ENOUGH:
        title += f", below {ENOUGH}: what follows is not to be trusted"
    return title


def cells_of(searches: Sequence[Sequence[Step]], best: float) -> list[str]:
    """Return the medians over the repetitions, with their quartiles, below `HEADER`."""
    cells = [str(len(searches))]
    cells.append(quartiles([len(steps) for steps in searches], 0))
    cells.append(quartiles([steps[-1].epochs for steps in searches], 0))
    for mark in (*MARKS, sys.maxsize):
        tests = [steps[min(mark, len(steps)) - 1].test for steps in searches]
        cells.append(quartiles([100 * (best - test) for test in tests], 2))
    return cells


def quartiles(values: Sequence[float], digits: int) -> str:
    """Return the median and the quartiles of numbers."""
    ranked = sorted(values)
    low, median, high = (ranked[int(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))
    return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
