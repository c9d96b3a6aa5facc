"""Searches compared by replay: samplers and schedulers against a world that was recorded once.

    python tests/benchmarks/replay.py record                     # train what is missing: hours
    python tests/benchmarks/replay.py collect                    # write what is recorded so far
    python tests/benchmarks/replay.py compare                    # every way to search, in turn
    python tests/benchmarks/replay.py compare --repetitions 5    # fewer of each

`record` trains at least a thousand configurations of each study: the baselines, at random, by TPE,
and of CLIPFit's own subset. It notes the validation score of each fold after each epoch, and the
test scores on two further draws of shots. It goes on where it was, or where the world in `worlds/`
is, and in the end writes that.

`compare` replays whole searches against the surrogate of a world. The best is the highest mean test
score that the rest of the world predicts of a configuration; a search is near it once what
validation would choose is within half a point and stays so, and on a par once that is as good as
what the first way chooses in the end, in the median. Replays are kept as they end: it goes on where
it was.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import cache
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NamedTuple

import optuna
import torch
from optuna.trial import TrialState, create_trial
from paired import machine
from replay_search import Step, replay
from replay_world import ENOUGH, Row, World

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.embedded import backbone_path
from study.search.samplers import Sampler, random, seed_from_text, tpe
from study.search.searcher import Proposal
from study.search.space import OpenSpace, RateSpace
from study.search.stages import make_trial
from study.storage.atomic import drop_cut_line
from study.storage.study_folder import StudyFolder
from study.trial import TrialData
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study

WORLDS = Path(__file__).with_name("worlds")
STUDIES = ("quickstart", "base_to_new")
DRAW = 1
"""The seed of the shots that validation sees."""
FURTHER = (101, 102)
"""The seeds of the draws that are tested."""
BASELINES = "baselines"
LENGTHS: Mapping[str, int] = {"random": 50, "tpe": 100, "clipfit": 50}
"""The configurations of a chain, by what proposes them; TPE learns within its chain."""
CHAINS: Mapping[str, int] = {BASELINES: 1, "random": 10, "tpe": 4, "clipfit": 2}
"""The number of chains of each study."""
TINY = ("training.epochs=6", "search.folds=2", "data.shots=2")
NEAR = 0.005
MARKS = (20, 40, 96)


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


WHOLE, UNHALVED = "search.space.whole=true", "search.asha=null"
WAYS: Mapping[str, Way] = {
    "TPE, as shipped": Way(tpe),
    "random": Way(random),
    "TPE, all choices of every trial": Way(together, (WHOLE,)),
    "Gaussian process, all choices of every trial": Way(gaussian_process, (WHOLE,), 30),
    "TPE, without CLIPFit's neighbours": Way(tpe, ("search.space.neighbours=false",)),
    "TPE, no successive halving": Way(tpe, (UNHALVED,)),
    "TPE, halving from epoch 5": Way(tpe, ("search.asha.grace_period=5",)),
    "TPE, halving by 2": Way(tpe, ("search.asha.reduction_factor=2",)),
    "TPE, halving by 4": Way(tpe, ("search.asha.reduction_factor=4",)),
}


class Chain(NamedTuple):
    """Configurations that are trained one after the other."""

    study: str
    storage: Path
    source: str
    number: int
    length: int
    changes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its rows call it."""
        return f"{self.source}-{self.number}"

    @property
    def file(self) -> Path:
        """The file of its rows, a line each."""
        return self.storage / self.study / f"{self.name}.jsonl"

    def rows(self) -> list[Row]:
        """Return what was trained of it; a line that was cut goes."""
        if not self.file.exists():
            return []
        with self.file.open("r+b", buffering=0) as file:
            drop_cut_line(file)
        return [Row.of(line) for line in self.file.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=["record", "collect", "compare"])
    parser.add_argument("--studies", nargs="+", default=STUDIES, choices=STUDIES)
    parser.add_argument("--worlds", type=Path, default=WORLDS)
    parser.add_argument("--storage", type=Path, default=Path("runs/replay"), help="of the rows")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", nargs="+", metavar="WAY", choices=[*WAYS])
    parser.add_argument("--tiny", action="store_true", help="a few short trainings: shows it works")
    options = parser.parse_args()
    changes = TINY if options.tiny else ()
    storage, worlds = options.storage.resolve(), options.worlds.resolve()
    if options.tiny:  # beside, not among, what counts
        storage, worlds = storage / "tiny", storage / "tiny"
    print(f"`{' '.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    if options.verb != "compare":
        keep(options.studies, storage, worlds, changes, options.verb, options.processes)
        return
    for study in options.studies:
        path = worlds / f"{study}.parquet"
        (storage / study).mkdir(parents=True, exist_ok=True)  # of the shots, with nothing recorded
        trials = f"search.trials={12 if options.tiny else max(MARKS)}"
        world = World.read(path, _study(study, storage, ()).architecture().depths)
        print(introduction(study, world), flush=True)
        par: float | None = None
        for name in options.only or WAYS:
            count = min(options.repetitions, WAYS[name].most)
            jobs = [
                (study, storage, (*changes, trials), name, seed) for seed in range(1, count + 1)
            ]
            kept = storage / study / f"replays-{sha256(path.read_bytes()).hexdigest()[:8]}"
            found = replays(jobs, kept / f"{name}.jsonl", world, options.processes)
            if name == next(iter(WAYS)):
                par = median(steps[-1].test for steps in found)
            print(line_of(name, found, world.best, par), flush=True)


def replays(jobs: Sequence[Job], path: Path, world: World, processes: int) -> list[list[Step]]:
    """Replay what is not in a file yet, and add it there; return the steps of every job.

    Args:
        jobs: the arguments of `one_replay`, of one way, in the order of their seeds.
        path: the file, a line a replay.
        world: the world.
        processes: how many are replayed at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("r+b", buffering=0) as file:
        drop_cut_line(file)
    lines = path.read_text(encoding="utf-8").splitlines()
    if missing := jobs[len(lines) :]:
        pool = multiprocessing.get_context("spawn").Pool(processes, _enter, (world,))
        with pool, path.open("a", encoding="utf-8") as file:
            for steps in pool.imap(_one_replay, missing):
                lines.append(json.dumps([astuple(step) for step in steps]))
                print(lines[-1], file=file, flush=True)
    return [[Step(*step) for step in json.loads(line)] for line in lines[: len(jobs)]]


def keep(
    studies: Sequence[str],
    storage: Path,
    worlds: Path,
    changes: tuple[str, ...],
    verb: str,
    processes: int,
) -> None:
    """Write the worlds of studies, of what is recorded and, when asked to, of all that is missing.

    Chains of all studies are trained beside each other, so that no process waits for a long one.
    """
    worlds.mkdir(parents=True, exist_ok=True)
    depths = {study: _study(study, storage, changes).architecture().depths for study in studies}
    chains = {study: chains_of(study, storage, changes) for study in studies}
    paths = {study: worlds / f"{study}.parquet" for study in studies}
    for study, path in paths.items():
        if path.exists():
            go_on(chains[study], World.read(path, depths[study]))
    if verb == "record":
        record([chain for study in studies for chain in chains[study]], processes)
    for study, path in paths.items():
        rows = [row for chain in chains[study] for row in chain.rows()]
        World(rows, depths[study]).write(path)
        print(f"{path}: {len(rows)} configurations, {path.stat().st_size:,} bytes")


def chains_of(study: str, storage: Path, changes: tuple[str, ...]) -> list[Chain]:
    """Return all chains of a study.

    Args:
        study: the name of the shipped configuration.
        storage: the folder of the rows.
        changes: what is different from the shipped configuration; if anything is, chains are short.
    """
    return [
        Chain(study, storage, source, number, 4 if changes else LENGTHS.get(source, 0), changes)
        for source, count in CHAINS.items()
        for number in range(1 if changes else count)
    ]


def go_on(chains: Sequence[Chain], world: World) -> None:
    """Let the chains that have no file begin with their rows in a world."""
    for chain in chains:
        rows = [row for row in world.rows if row.source == chain.name]
        if rows and not chain.file.exists():
            chain.file.parent.mkdir(parents=True, exist_ok=True)
            chain.file.write_text("".join(f"{row.as_json()}\n" for row in rows), encoding="utf-8")


def record(chains: Sequence[Chain], processes: int) -> None:
    """Train what has no row yet, this many chains at once."""
    for chain in chains:
        chain.file.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, name in enumerate(pool.imap_unordered(train, chains), start=1):
            print(f"{name}: {done} of {len(chains)}", file=sys.stderr, flush=True)


def train(chain: Chain) -> str:
    """Train what is missing of a chain, and write a row as each is done; return its name."""
    torch.set_num_threads(1)
    study, backbone = _study(chain.study, chain.storage, chain.changes), _backbone()
    preparer = Preparer(study, study.architecture().image_size)
    data = preparer.search()
    tests = [preparer.confirm(seed) for seed in FURTHER]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(direction="maximize")
    space = _space(study, chain.source)
    rows = chain.rows()
    for row in rows:
        choices = space.encode(
            row.settings.model_copy(update={"head_lr": None, "head_steps": None})
        )
        asked.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=row.validation[-1],
                params={name: value for name, (value, _) in (choices or {}).items()},
                distributions={name: kind for name, (_, kind) in (choices or {}).items()},
            )
        )
    baselines = [*study.config.search.fixed_baselines.values()] if chain.source == BASELINES else []
    with chain.file.open("a", encoding="utf-8") as file:
        for turn in range(len(rows), len(baselines) or chain.length):
            seed = seed_from_text(f"{chain.source}/{chain.number}/{turn}")
            asked.sampler = tpe(seed) if chain.source == "tpe" else random(seed)
            trial = asked.ask()
            settings = baselines[turn] if baselines else space.suggest(trial)
            row = measure(study, settings, chain.name, data, tests, backbone)
            asked.tell(trial, row.validation[-1])
            file.write(f"{row.as_json()}\n")
            file.flush()
    return f"{chain.study}, {chain.name}"


def measure(
    study: Study,
    settings: TrialSettings,
    source: str,
    data: TrialData,
    tests: Sequence[TrialData],
    backbone: Backbone,
) -> Row:
    """Train a configuration on the folds, and on each of the draws that are tested."""
    trial = make_trial(study, data, "search", Proposal(settings, "search", 0))
    # Every epoch is scored, also those after which no trial may be stopped as shipped.
    reports = list(run_trial(trial.model_copy(update={"scored_at": None}), data, backbone))
    own = settings.with_reported_head(reports[-1].metrics)
    test = []
    for seed, draw in zip(FURTHER, tests, strict=True):
        proposal = Proposal(own, "confirm", 0)
        final = make_trial(study, draw, "confirm", proposal, label="", seed=seed)
        *_, last = run_trial(final, draw, backbone)
        test.append(last.metrics["test_score"])
    return Row(
        source=source,
        settings=trial.settings,
        validation=[report.metrics["val_score"] for report in reports],
        folds=[report.folds for report in reports],
        test=test,
    )


_WORLD: list[World] = []
"""The world that this process replays."""


def _enter(world: World) -> None:
    torch.set_num_threads(1)
    _WORLD[:] = [world]


Job = tuple[str, Path, tuple[str, ...], str, int]
"""The arguments of `one_replay`."""


def _one_replay(job: Job) -> list[Step]:
    return one_replay(*job)


def one_replay(
    name: str, storage: Path, changes: tuple[str, ...], way: str, seed: int
) -> list[Step]:
    """Replay one search of a study."""
    sampler = WAYS[way].sampler
    called = f"search.sampler={sampler.__name__}"
    study = _study(name, storage, (*changes, called, *WAYS[way].changes))
    data = _data(name, storage, changes)
    config = study.config.model_copy(update={"seed": seed})
    return replay(_WORLD[0], config, data, sampler)


def introduction(study: str, world: World) -> str:
    """Return what the world is, and how far its surrogate can be trusted, as Markdown."""
    validation, test = world.held_out
    trusted = min(validation, test) >= ENOUGH
    return (
        f"\n**{study}**: {len(world.rows)} configurations; held-out rank correlation "
        f"{validation:.2f} on validation and {test:.2f} on test, and {world.held_out_above:.2f} on "
        "test among the better half by validation"
        + ("" if trusted else f", below {ENOUGH}: what follows is not to be trusted")
        + f"; best {100 * world.best:.1f} %\n\n| search | repetitions | trials to within half a "
        "point | epochs | epochs to a par | epochs in the end | "
        + " | ".join(f"regret after {mark}" for mark in MARKS)
        + " | in the end |\n"
        + "| --- " * (7 + len(MARKS))
        + "|"
    )


def line_of(
    name: str, found: Sequence[Sequence[Step]], best: float, par: float | None = None
) -> str:
    """Return the medians over the repetitions, with their quartiles, as a line of the table."""
    near = [first(steps, best - NEAR) for steps in found]
    cells = [
        quartiles([math.inf if step is None else step.trials for step in near], "{:.0f}"),
        epochs(near),
        "–" if par is None else epochs([first(steps, par) for steps in found]),
        epochs([steps[-1] for steps in found]),
        *(
            quartiles([100 * (best - steps[min(mark, len(steps)) - 1].test) for steps in found])
            for mark in (*MARKS, len(max(found, key=len)))
        ),
    ]
    return f"| {name} | {len(found)} | {' | '.join(cells)} |"


def first(steps: Sequence[Step], test: float) -> Step | None:
    """Return the first step from which on every choice has this test score; None if none is."""
    found = None
    for step in reversed(steps):
        if step.test < test:
            break
        found = step
    return found


def epochs(steps: Sequence[Step | None]) -> str:
    """Return the quartiles of the epochs of steps, of which some were never taken."""
    return quartiles([math.inf if step is None else step.epochs for step in steps], "{:.0f}")


def quartiles(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return the median and the quartiles of numbers, some of which may be infinite: never."""
    ranked = sorted(values)
    low, middle, high = (ranked[int(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))
    ends = (middle, low, high)
    texts = ["never" if value == math.inf else form.format(value) for value in ends]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _space(study: Study, source: str) -> OpenSpace:
    config, depths = study.config, study.architecture().depths
    if source == "clipfit":
        return RateSpace(
            config.search.space, depths, config.search.fixed_baselines["clipfit"].subset
        )
    return OpenSpace(
        config.search.space, depths, strength=study.protocol().configured_strength(config)
    )


@cache
def _study(name: str, storage: Path, changes: tuple[str, ...]) -> Study:
    path = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
    config = load_config(path, [f"seed={DRAW}", f"storage={storage}", *changes])
    return Study(config, StudyFolder(storage / name))


@cache
def _data(name: str, storage: Path, changes: tuple[str, ...]) -> TrialData:
    study = _study(name, storage, changes)
    return Preparer(study, study.architecture().image_size).search()


@cache
def _backbone() -> Backbone:
    return load_backbone(backbone_path("embedded"))


if __name__ == "__main__":
    main()
