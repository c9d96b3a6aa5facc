"""A search of a study against a recorded world: all of it is real, but for the training.

Searcher, arms, samplers, successive halving, variants and the ledger are those of a study. Time is
counted in epochs of the trials that run beside each other.
"""

from __future__ import annotations

import heapq
import math
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from study.config.labels import VARIANT
from study.config.loading import dump_config, load_config
from study.config.schema import StudyConfig
from study.search.make_trial import make_trial
from study.search.samplers import Sampler
from study.search.scheduler import make_scheduler
from study.search.searcher import Proposal, Proposers, StudySearcher
from study.search.stages import open_arms
from study.selection.candidates import variants
from study.selection.patience import Patience
from study.selection.ranking import Judged
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, Status
from study.trial import TrialConfig, TrialData
from study.trial.study import Study
from tests.benchmarks.search.world import Curve, World

CONFIGS = Path(__file__).parents[3] / "configs"
SLOTS = 2
IMAGES = 200
"""The validation images of a score's standard error, as if it were an accuracy over them.

`quickstart` has as many. Where `base_to_new` was trained, its hmean had the error of 185 to 264."""


def _standard_error(trial_id: str, score: float) -> float:
    return math.sqrt(score * (1 - score) / IMAGES)


@dataclass(frozen=True)
class Step:
    """The state of a search when a trial has ended."""

    trials: int
    """The number of trials that ended, peers and variants included."""
    epochs: float
    """The epochs that were trained, on all folds."""
    test: float
    """The mean test score of what validation would choose now; 0 while nothing finished."""


@dataclass
class Running:
    """A trial under way."""

    config: TrialConfig
    curve: Curve
    told: Any
    """What the scheduler knows of it."""
    epoch: int = 0


@cache
def load_study(name: str, storage: Path, changes: tuple[str, ...] = ()) -> Study:
    """Return a shipped study in a storage; validation sees the shots of seed 1."""
    overrides = ["seed=1", f"storage={storage}", *changes]
    return Study(load_config(CONFIGS / f"{name}.yaml", overrides), StudyFolder(storage / name))


def replay(
    world: World,
    config: StudyConfig,
    data: TrialData,
    sampler: Sampler | None = None,
) -> list[Step]:
    """Run one search and return its state after each trial, in order.

    Args:
        world: the world that answers in place of training.
        config: the configuration of the study; its seed is that of the search.
        data: the data of the search's trials, of which only the digest matters.
        sampler: the sampler, if it is not found by the name in the configuration.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        folder = StudyFolder(Path(scratch) / "replayed")
        folder.create(dump_config(config), {})
        return _Replay(world, Study(config, folder), data, sampler).run()


class _Replay:
    def __init__(
        self,
        world: World,
        study: Study,
        data: TrialData,
        sampler: Sampler | None,
    ) -> None:
        search, epochs = study.config.search, study.config.training.epochs
        self._world, self._study = world, study
        self._make = partial(make_trial, study, data, "search")
        fixed = [
            self._make(Proposal(settings, "baseline", number), label=label)
            for number, (label, settings) in enumerate(search.fixed_baselines.items())
        ]
        self._scheduler = make_scheduler(search.asha, epochs)
        patience = Patience(study.folder, _standard_error) if search.patience else None
        proposers = Proposers(
            open_arms(study, (), sampler), self._make, next_number=len(fixed), patience=patience
        )
        self._searcher = StudySearcher(study.folder, fixed, proposers=proposers)
        self._count = search.trials + len(search.peers)
        self._spent = 0
        """The epochs that were trained, each on one fold: whole numbers add up exactly."""
        self._steps: list[Step] = []
        self._finished: list[tuple[Judged, float]] = []
        """The finished trials, each with its mean test score."""

    def run(self) -> list[Step]:
        """Run all trials, `SLOTS` at a time."""
        # When an epoch ends, in the time of an epoch on one fold, and of what.
        turns: list[tuple[int, int, Running]] = []
        now, started = 0, 0
        while True:
            while len(turns) < SLOTS and started < self._count and (new := self._start(started)):
                started += 1
                heapq.heappush(turns, (now + self._world.folds, started, new))
            if not turns:
                return self._with_variants()
            now, number, running = heapq.heappop(turns)
            if self._goes_on(running):
                heapq.heappush(turns, (now + self._world.folds, number, running))

    def _start(self, number: int) -> Running | None:
        given = self._searcher.suggest(f"{number}")
        if given is None or given == Searcher.FINISHED:
            return None
        config = self._searcher.running[f"{number}"]
        told = SimpleNamespace(trial_id=f"{number}", config=config.model_dump(mode="json"))
        self._scheduler.on_trial_add(None, told)
        return Running(config, self._ask(config), told)

    def _ask(self, config: TrialConfig) -> Curve:
        return self._world.ask(config.settings, self._study.config.seed)

    def _finish(self, config: TrialConfig, curve: Curve) -> None:
        self._finished.append((Judged(config, curve.validation[config.epochs - 1]), curve.test))

    def _step(self) -> None:
        """Note what validation would choose now."""
        ranked = sorted(self._finished, key=lambda found: found[0].sort_key)
        tested = ranked[0][1] if ranked else 0.0
        spent = self._spent / self._world.folds
        self._steps.append(Step(len(self._steps) + 1, spent, tested))

    def _with_variants(self) -> list[Step]:
        """Return all steps, with those of the variants, which a study trains in the end."""
        config, protocol = self._study.config, self._study.protocol
        judged = sorted((found for found, _ in self._finished), key=lambda found: found.sort_key)
        wanted = variants(judged, config, protocol.configured_strength(config))
        for place, (label, settings) in enumerate(wanted.items()):
            number = len(self._steps) + place
            trial = self._make(Proposal(settings, VARIANT, number), label=label)
            self._spent += trial.epochs * self._world.folds
            self._finish(trial, self._ask(trial))
            self._step()
        return self._steps

    def _goes_on(self, running: Running) -> bool:
        """Train a trial for one more epoch; return whether it goes on."""
        config = running.config
        running.epoch = min(running.epoch + 1, config.epochs)
        self._spent += self._world.folds if config.epochs else 0
        ends = running.epoch >= config.epochs
        looks = ends or config.scored_at is None or running.epoch in config.scored_at
        score = running.curve.validation[running.epoch - 1] if looks else None
        result = {"epoch": running.epoch, "score": score}
        self._searcher.on_trial_result(running.told.trial_id, result)
        if not ends and self._scheduler.on_trial_result(None, running.told, result) == (
            TrialScheduler.CONTINUE
        ):
            return True
        if ends:
            self._scheduler.on_trial_complete(None, running.told, result)
            self._finish(config, running.curve)
        self._conclude(running, "finished" if ends else "stopped", score)
        return False

    def _conclude(self, running: Running, status: Status, score: float | None) -> None:
        end = End(status, running.epoch, 0.0)
        self._searcher.conclude(running.config, end, score)
        del self._searcher.running[running.told.trial_id]
        self._step()
