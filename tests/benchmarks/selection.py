"""How far a validation rule can be trusted: many configurations, each rule's score against test.

Every configuration is trained on every draw of shots, scored by each selection rule and on test;
the table tells how well a rule ranks configurations and what its pick costs. Run by

    python tests/benchmarks/selection.py [--configurations 40] [--draws 3] [--processes 2]

Rows go to ``runs/selection/`` as they come, so a run that is cut short goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture
from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.data.tasks import Part, Task
from study.embedded import backbone_path
from study.method.subsets import parse
from study.protocols import find_protocol
from study.results.statistics import regret
from study.search.space import OpenSpace
from study.storage.study_folder import StudyFolder
from study.trial import TrialConfig, TrialData
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study

STORAGE = Path("runs/selection")
STUDIES = ("quickstart", "base_to_new")
RULES = {"few_shot": ("holdout", "4 folds"), "base_to_new": ("base", "3 class folds")}
POOL = 20
"""Size of the random pools that a rule also picks from."""


class Job(NamedTuple):
    """One configuration on one draw of shots."""

    study: str
    draw: int
    number: int
    proposal: TrialSettings

    @property
    def file(self) -> Path:
        """Where its row goes; a number may be of another configuration in another state."""
        key = zlib.crc32(self.proposal.model_dump_json().encode())
        return STORAGE / self.study / f"draw{self.draw}-{self.number:03d}-{key:08x}.json"


def main() -> None:
    """Train what is missing, then print one table a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=40)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--studies", nargs="+", default=list(STUDIES))
    options = parser.parse_args()
    jobs = [
        Job(study, draw, number, proposal)
        for study in options.studies
        for number, proposal in enumerate(proposals(configuration(study), options.configurations))
        for draw in range(1, options.draws + 1)
    ]
    missing = [job for job in jobs if not job.file.exists()]
    for job in missing:
        job.file.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes) as pool:
        for done, _ in enumerate(pool.imap_unordered(measure, missing), start=1):
            print(f"{done}/{len(missing)}", end="\r", flush=True)
    console = Console(width=110)
    for study in options.studies:
        console.print(summary(study, [j for j in jobs if j.study == study]))


def configuration(study: str) -> StudyConfig:
    """Give the shipped configuration of a study, without linear heads.

    One would be chosen by the rule too, so that each rule would test another classifier.
    """
    path = Path(__file__).parents[2] / "configs" / f"{study}.yaml"
    return load_config(path, ["search.space.heads=[text]"])


def proposals(config: StudyConfig, count: int) -> list[TrialSettings]:
    """Give the baselines as configured, then random configurations of the study's space."""
    fixed = [
        b for b in config.search.fixed_baselines.values() if b.head in config.search.space.heads
    ]
    depths = read_architecture(backbone_path(config.backbone.name)).depths
    strength = find_protocol(config.protocol).configured_strength(config)
    space = OpenSpace(config.search.space, depths, strength=strength)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = (space.suggest(asked.ask()) for _ in range(10 * count))
    return fixed + [p for p in drawn if p.subset != "none"][: count - len(fixed)]


_BACKBONE: list[Backbone] = []


def measure(job: Job) -> None:
    """Train a configuration for every rule and for test; write its row."""
    torch.set_num_threads(1)
    config = configuration(job.study)
    name = backbone_path(config.backbone.name)
    if not _BACKBONE:
        _BACKBONE.append(load_backbone(name))
    backbone = _BACKBONE[0]
    config = config.model_copy(update={"seed": job.draw, "storage": STORAGE})
    subset = parse(job.proposal.subset)
    leaves = subset.resolve(read_architecture(name).depths)
    trial = TrialConfig(
        trial_id=f"draw{job.draw}-{job.number}",
        stage="confirm",
        arm="search",
        label="",
        number=job.number,
        seed=job.draw,
        settings=job.proposal.effective(leaves, config.training.regularizer),
        subset_key="",
        trainable=0,
        epochs=config.training.epochs if leaves else 0,
        split_hash="",
        training=config.training,
    )
    row: dict[str, Any] = {"subset": str(subset)}
    for rule, data in rules(config, backbone.image_size):
        *_, last = run_trial(trial, data, backbone)
        if data.split == "test":
            row |= {rule: last.metrics["test_selection"], "test": last.metrics["test_score"]}
        else:
            row[rule] = last.metrics["val_score"]
    job.file.write_text(json.dumps(row))


def rules(config: StudyConfig, image_size: int) -> Iterator[tuple[str, TrialData]]:
    """Give each rule's data. The rule that trains on all training shots is scored beside test."""
    folder = StudyFolder(STORAGE / config.protocol)
    folder.path.mkdir(parents=True, exist_ok=True)
    preparer = Preparer(Study(config, folder), image_size)
    dataset = preparer.study.dataset()
    shots = preparer.shots(config.seed)
    held_out, folded = RULES[config.protocol]
    protocol = preparer.study.protocol()
    folds, plain = sorted(protocol.rules, key=lambda rule: -rule.folds)
    (task,) = protocol.search_tasks(dataset, shots, plain)
    part = task.evaluations[0]
    confirm = protocol.confirm_task(dataset, shots)
    both = (*confirm.evaluations, Part("selection", part.records, part.classes))
    yield held_out, preparer.prepare_tasks((Task(confirm.train, both),), "test")
    yield folded, preparer.prepare_tasks(protocol.search_tasks(dataset, shots, folds), "val")


def summary(study: str, jobs: list[Job]) -> Table:
    """Tell each rule's rank correlation with test, and the regret of its pick, draw by draw."""
    protocol = configuration(study).protocol
    rows = {(job.draw, job.number): json.loads(job.file.read_text()) for job in jobs}
    draws = sorted({job.draw for job in jobs})
    numbers = sorted({job.number for job in jobs})
    table = Table(
        title=f"{study}: {len(numbers)} configurations, {len(draws)} draws", title_justify="left"
    )
    for heading in ("rule", "Spearman with test", "regret of its pick", f"in pools of {POOL}"):
        table.add_column(heading)
    for rule in RULES[protocol]:
        ranks, regrets, pooled = [], [], []
        for draw in draws:
            score = {n: rows[draw, n][rule] for n in numbers}
            test = {n: rows[draw, n]["test"] for n in numbers}
            ranks.append(float(spearmanr(list(score.values()), list(test.values())).statistic))
            regrets.append(loss(numbers, score, test))
            sampler = random.Random(0)
            pools = (sampler.sample(numbers, min(POOL, len(numbers))) for _ in range(500))
            pooled.append(statistics.fmean(loss(pool, score, test) for pool in pools))
        table.add_row(
            rule,
            " / ".join(f"{value:.2f}" for value in ranks),
            " / ".join(f"{100 * value:.1f}" for value in regrets),
            f"{100 * statistics.fmean(pooled):.1f}",
        )
    tests = [rows[draw, n]["test"] for draw in draws for n in numbers]
    table.caption = (
        f"test score from {100 * min(tests):.1f} to {100 * max(tests):.1f} %; regret in points"
    )
    return table


def loss(numbers: list[int], score: dict[int, float], test: dict[int, float]) -> float:
    """Give what the pick by ``score`` loses on test; the lowest number of equals is picked."""
    found = regret({str(n): score[n] for n in sorted(numbers)}, {str(n): test[n] for n in numbers})
    assert found is not None
    return found.loss


if __name__ == "__main__":
    main()
