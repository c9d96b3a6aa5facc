"""Finalists that are scored again on fresh folds before one is chosen: by replay.

    python tests/benchmarks/search/finalists.py --record   # train what is missing
    python tests/benchmarks/search/finalists.py            # the table

Its recordings, `worlds/again-STUDY.jsonl`, are read once they are copied to the storage.

The configurations of a world are dealt to searches, no two of which share any but the baselines.
Each search halves as shipped. Its six best by validation are scored on two further partitions of
the same images into folds (for base to new: of the same classes), and the best mean of the three
scores is chosen. It is compared with the best by validation alone, and with that of the same search
with as many more trials as cost the epochs that the finalists took.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from ray.tune.schedulers import TrialScheduler
from scipy import stats

from study.config.trial_settings import TrialSettings
from study.data.shots import Shots
from study.data.tasks import Classes, Part, Task
from study.search.driver import make_scheduler
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.storage.atomic import sha256_of
from study.trial import TrialData
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.search.record import BASELINES, STUDIES, WORLDS, _backbone
from tests.benchmarks.search.replayed_search import SLOTS, load_study
from tests.benchmarks.search.world import Row, World

FINALISTS = 6
PARTITIONS = (2, 3)
HEADER = ["chosen by", "epochs", "test %", "more than by validation (95 %)"]


class Job(NamedTuple):
    """A finalist whose further partitions are to be trained."""

    study: str
    storage: Path
    row: int
    settings: TrialSettings


class Step(NamedTuple):
    """A search after one more of its trials."""

    epochs: int
    finished: Sequence[int]
    """The rows of the trials that were not stopped."""


def main() -> None:
    """Train what is missing, or print a table for each study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", nargs="+", default=STUDIES, choices=STUDIES)
    parser.add_argument("--storage", type=Path, default=Path("runs/replay"), help="of the shots")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    storage = options.storage.resolve()
    print(f"`{shlex.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    if options.record:
        record(options.studies, storage, options.processes)
        return
    for study in options.studies:
        world = World.read(WORLDS / f"{study}.parquet")
        print(compare(study, world, storage), flush=True)


def record(studies: Sequence[str], storage: Path, processes: int) -> None:
    """Train the finalists of all searches that are not in the file yet."""
    jobs = []
    for study in studies:
        world = World.read(WORLDS / f"{study}.parquet")
        known = read(storage, study)
        rows = set()
        for order in orders_of(world, load_study(study, storage).config.search.trials):
            rows.update(finalists_of(world, search(world, study, storage, order)[-1]))
        print(study, len(rows), "finalists", len(known), "known", flush=True)
        for row in sorted(rows - known.keys()):
            jobs.append(Job(study, storage, row, world.rows[row].settings))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for job, scores in pool.imap_unordered(train, jobs):
            with (storage / f"again-{job.study}.jsonl").open("a") as file:
                file.write(json.dumps({"row": job.row, "scores": scores}) + "\n")


def read(storage: Path, study: str) -> dict[int, list[float]]:
    """Return the scores on the further partitions by row."""
    path = storage / f"again-{study}.jsonl"
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["row"]: line["scores"] for line in lines}


def orders_of(world: World, trials: int) -> list[list[int]]:
    """Return the rows of each search: all have the baselines, and no other row is in two."""
    baselines: list[int] = []
    others: list[int] = []
    for number, row in enumerate(world.rows):
        rows = baselines if is_baseline(row) else others
        rows.append(number)
    drawn = np.random.default_rng(1).permutation(others).tolist()
    length = trials - len(baselines)
    starts = range(0, len(drawn) - length + 1, length)
    return [[*baselines, *drawn[start : start + length]] for start in starts]


def is_baseline(row: Row) -> bool:
    """Return whether a row is a baseline of the study."""
    return row.source.startswith(BASELINES)


def search(world: World, study: str, storage: Path, order: Sequence[int]) -> list[Step]:
    """Run the trials of some rows in their order, and return the search after each that ended."""
    config = load_study(study, storage).config
    scheduler = make_scheduler(config.search.asha, config.training.epochs)
    waiting = [*order]
    running: list[tuple[SimpleNamespace, int]] = []
    steps: list[Step] = []
    finished: list[int] = []
    spent = 0
    while waiting or running:
        while waiting and len(running) < SLOTS:
            row = world.rows[waiting[0]]
            arm = "baseline" if is_baseline(row) else "search"
            described = {"settings": row.settings.model_dump(mode="json"), "arm": arm}
            told = SimpleNamespace(trial_id=f"{waiting[0]}", row=waiting.pop(0), config=described)
            scheduler.on_trial_add(None, told)
            running.append((told, 0))
        told, epoch = running.pop(0)
        row = world.rows[told.row]
        epoch += 1
        spent += bool(row.settings.rates)
        if epoch < epochs_of(row):
            result = {"epoch": epoch, "score": row.validation[epoch - 1]}
            if scheduler.on_trial_result(None, told, result) == TrialScheduler.CONTINUE:
                running.append((told, epoch))
                continue
        else:
            finished.append(told.row)
        steps.append(Step(spent, [*finished]))
    return steps


def epochs_of(row: Row) -> int:
    """Return the number of epochs of a configuration, 0 if it tunes nothing of CLIP."""
    return len(row.validation) if row.settings.rates else 0


def finalists_of(world: World, step: Step) -> list[int]:
    """Return the best rows by validation, the best first."""
    ranked = sorted(step.finished, key=lambda row: (-world.rows[row].validation[-1], row))
    return ranked[:FINALISTS]


def compare(study: str, world: World, storage: Path) -> str:
    """Return the table of a study."""
    trials = load_study(study, storage).config.search.trials
    orders = orders_of(world, trials)
    again = read(storage, study)
    ways: dict[str, list[tuple[float, float]]] = {}
    """The epochs and the test score of each search, by what chose."""
    for number, order in enumerate(orders):
        follower = orders[(number + 1) % len(orders)]
        further = [row for row in follower if not is_baseline(world.rows[row])]
        steps = search(world, study, storage, [*order, *further])
        ended = search(world, study, storage, order)[-1]
        finalists = finalists_of(world, ended)
        cost = ended.epochs
        for row in finalists:
            cost += len(PARTITIONS) * epochs_of(world.rows[row])
        afforded = [step for step in steps if step.epochs <= cost][-1]
        fresh = {row: np.mean(again[row]) for row in finalists}
        means = {row: np.mean([world.rows[row].validation[-1], *again[row]]) for row in finalists}
        chosen = {
            "validation, as shipped": (ended.epochs, finalists[0]),
            "the mean of three partitions": (cost, max(finalists, key=means.__getitem__)),
            "the two fresh partitions alone": (cost, max(finalists, key=fresh.__getitem__)),
            "validation, at the same epochs": (afforded.epochs, finalists_of(world, afforded)[0]),
        }
        for way, (epochs, row) in chosen.items():
            ways.setdefault(way, []).append((epochs, 100 * float(np.mean(world.rows[row].test))))
    shipped = np.array(next(iter(ways.values())))[:, 1]
    rows = []
    for way, pairs in ways.items():
        epochs, tests = np.array(pairs).T
        rows.append([way, f"{epochs.mean():.0f}", f"{tests.mean():.2f}", against(tests, shipped)])
    count = len(set(again))
    title = f"{study}: {len(orders)} searches of {trials} trials, {count} finalists"
    return table(title, HEADER, rows)


def against(tests: np.ndarray, shipped: np.ndarray) -> str:
    """Return the mean difference in points with its t interval."""
    differences = tests - shipped
    if not differences.any():
        return "–"
    half = stats.sem(differences) * stats.t.ppf(0.975, len(differences) - 1)
    return f"{differences.mean():+.2f} ± {half:.2f}"


def train(job: Job) -> tuple[Job, list[float]]:
    """Train a configuration on the further partitions, and return its scores."""
    torch.set_num_threads(1)
    scores = []
    for number in PARTITIONS:
        data = _partition(job.study, job.storage, number)
        study = load_study(job.study, job.storage)
        trial = make_trial(study, data, "search", Proposal(job.settings, "search", 0))
        *_, last = run_trial(trial, data, _backbone())
        scores.append(last.metrics["val_score"])
    return job, scores


@cache
def _partition(name: str, storage: Path, number: int) -> TrialData:
    """Return the data of one partition of the shots into folds."""
    study = load_study(name, storage)
    preparer = Preparer(study, study.architecture.image_size)
    rule = study.protocol.rule(study.config, study.dataset)
    other = replace(rule, tasks=partial(_tasks, rule.tasks, number))
    folds = study.config.search.folds
    tasks = study.protocol.search_tasks(study.dataset, preparer.shots(1), other, folds)
    return preparer.prepare_tasks(tasks, "val")


def _tasks(
    original: Callable[[Shots, str, Classes, int], tuple[Task, ...]],
    number: int,
    shots: Shots,
    name: str,
    classes: Classes,
    folds: int,
) -> tuple[Task, ...]:
    """Return the tasks of another partition: images by another key, classes in another order."""
    key = sha256_of(f"{shots.digest}/{number}".encode())
    shuffled = tuple(np.random.default_rng(number).permutation(classes).tolist())
    tasks = original(replace(shots, digest=key), name, shuffled, folds)
    ordered = []
    for task in tasks:
        parts = tuple(_ordered(part) for part in task.evaluations)
        ordered.append(Task(_ordered(task.train), parts))
    return tuple(ordered)


def _ordered(part: Part) -> Part:
    return replace(part, classes=tuple(sorted(part.classes)))


if __name__ == "__main__":
    main()
