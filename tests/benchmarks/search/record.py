"""Record the worlds of `compare.py`: many configurations of a study, trained and tested. Hours.

    python tests/benchmarks/search/record.py            # train what is missing
    python tests/benchmarks/search/record.py --tiny     # a few short trainings: shows that it works

A thousand configurations of each study are trained: the baselines, at random, by TPE, and of
CLIPFit's own subset. A row has the validation score of each fold after each epoch, and the test
scores on two further draws of shots. It goes on after the last chain of configurations that was
trained to its end, and writes the worlds when all are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import optuna
import torch

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.trial_settings import TrialSettings
from study.embedded import backbone_path
from study.search.make_trial import make_trial
from study.search.samplers import random, seed_from_text, tpe
from study.search.searcher import Proposal
from study.search.space import OpenSpace, RateSpace
from study.trial import TrialData
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.benchmarks.search.replayed_search import load_study
from tests.benchmarks.search.world import Row, World

WORLDS = Path(__file__).with_name("worlds")
STUDIES = ("quickstart", "base_to_new")
FURTHER = (101, 102)
"""The seeds of the draws that are tested."""
BASELINES = "baselines"
CHAINS: Mapping[str, tuple[int, int]] = {
    BASELINES: (1, 0),
    "random": (10, 50),
    "tpe": (4, 100),
    "clipfit": (2, 50),
}
"""The number and the length of the chains of each study, by what proposes their configurations.

TPE learns within its chain, and baselines are as many as the study has."""
TINY = ("training.epochs=6", "search.folds=2", "data.shots=2")


class Chain(NamedTuple):
    """Configurations that are trained one after the other."""

    study: str
    storage: Path
    source: str
    """What proposes them."""
    number: int
    length: int
    changes: tuple[str, ...]
    """What is different from the shipped configuration."""

    @property
    def name(self) -> str:
        """What its rows call it."""
        return f"{self.source}-{self.number}"

    @property
    def file(self) -> Path:
        """The file of its rows, once all are trained."""
        return self.storage / self.study / f"{self.name}.parquet"


def main() -> None:
    """Train all that is missing, and write the worlds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", nargs="+", default=STUDIES, choices=STUDIES)
    parser.add_argument("--storage", type=Path, default=Path("runs/replay"), help="of the rows")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="a few short trainings")
    options = parser.parse_args()
    storage, worlds = options.storage.resolve(), WORLDS
    if options.tiny:  # beside, not among, what counts
        storage = worlds = storage / "tiny"
    chains = []
    for study in options.studies:
        chains += chains_of(study, storage, options.tiny)
    # Chains of all studies beside each other, so that no process waits for a long one.
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        missing = [chain for chain in chains if not chain.file.exists()]
        for done, chain in enumerate(pool.imap_unordered(train, missing), start=1):
            print(f"{chain.study}, {chain.name}: {done} of {len(missing)}", file=sys.stderr)
    for study in options.studies:
        depths = load_study(study, storage).architecture.depths
        rows: list[Row] = []
        for chain in chains:
            if chain.study == study:
                rows += World.read(chain.file).rows
        World(rows, depths).write(worlds / f"{study}.parquet", about(study))
        print(f"{study}: {len(rows)} configurations")


def chains_of(study: str, storage: Path, tiny: bool) -> list[Chain]:
    """Return all chains of a study."""
    chains = []
    changes: tuple[str, ...] = ()
    for source, (count, length) in CHAINS.items():
        if tiny:
            count, length, changes = 1, min(4, length), TINY
        for number in range(count):
            chains.append(Chain(study, storage, source, number, length, changes))
    return chains


def train(chain: Chain) -> Chain:
    """Train the configurations of a chain, and write its rows."""
    torch.set_num_threads(1)
    chain.file.parent.mkdir(parents=True, exist_ok=True)
    study = load_study(chain.study, chain.storage, chain.changes)
    preparer = Preparer(study, study.architecture.image_size)
    data = preparer.search()
    tests = [preparer.confirm(seed) for seed in FURTHER]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(direction="maximize")
    space = make_space(study, chain.source)
    baselines = [*study.config.search.fixed_baselines.values()]
    rows = []
    for turn in range(chain.length or len(baselines)):
        seed = seed_from_text(f"{chain.source}/{chain.number}/{turn}")
        asked.sampler = tpe(seed) if chain.source == "tpe" else random(seed)
        trial = asked.ask()
        settings = baselines[turn] if chain.source == BASELINES else space.suggest(trial)
        row = measure(study, settings, chain.name, data, tests)
        asked.tell(trial, row.validation[-1])
        rows.append(row)
    World(rows, study.architecture.depths).write(chain.file, about(chain.study))
    return chain


def about(study: str) -> dict[str, str]:
    """Return what the file of a study's world says of itself."""
    return {
        "study": study,
        "description": f"{study} of clipfit-study: configurations, each trained and tested",
        "columns": "README.md, beside this file",
        "license": "Apache-2.0",
    }


def make_space(study: Study, source: str) -> OpenSpace:
    """Return the space that a source proposes from."""
    search, depths = study.config.search, study.architecture.depths
    if source == "clipfit":
        return RateSpace(search.space, depths, search.fixed_baselines["clipfit"].subset)
    strength = study.protocol.configured_strength(study.config)
    return OpenSpace(search.space, depths, strength=strength)


def measure(
    study: Study,
    settings: TrialSettings,
    source: str,
    data: TrialData,
    tests: Sequence[TrialData],
) -> Row:
    """Train a configuration on the folds, and on each of the draws that are tested."""
    trial = make_trial(study, data, "search", Proposal(settings, "search", 0))
    # Every epoch is scored, also those after which no trial may be stopped as shipped.
    reports = list(run_trial(trial.model_copy(update={"scored_at": None}), data, _backbone()))
    settings = settings.with_reported_head(reports[-1].metrics)
    scores = []
    for seed, draw in zip(FURTHER, tests, strict=True):
        proposal = Proposal(settings, "confirm", 0)
        final = make_trial(study, draw, "confirm", proposal, label="", seed=seed)
        *_, last = run_trial(final, draw, _backbone())
        scores.append(last.metrics["test_score"])
    return Row(
        source=source,
        settings=trial.settings,
        validation=[report.metrics["val_score"] for report in reports],
        folds=[report.folds for report in reports],
        test=scores,
    )


@cache
def _backbone() -> Backbone:
    return load_backbone(backbone_path("embedded"))


if __name__ == "__main__":
    main()
