"""Tiny studies on real digits, run by the real driver within the process of a test."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from study.backbones.architecture import Architecture
from study.config.labels import OPEN
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.search.candidates import read_or_choose_candidates
from study.search.driver import run_trials
from study.search.groups import JOURNAL
from study.search.runner import Runner
from study.search.steps import plan_test, run_search, run_test, trainings_of
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, TrialFolder
from study.trial.prepare import Preparer
from study.trial.study import Study, TrialConfig, TrialData
from tests.not_none import not_none

TIMED = ("seconds", "ended_at", "images_per_second")


class Listener:
    """An observer that remembers; a test may do something at one of its events."""

    def __init__(self):
        self.events: list[tuple[str, str, Any]] = []
        self.metrics: dict[tuple[str, int], Mapping[str, float]] = {}
        """The metrics of each trial and epoch."""
        self.at: dict[tuple[str, str, Any], Callable[[], object]] = {}

    def trial_started(self, config: TrialConfig):
        self._hear("started", config.trial_id, None)

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]):
        self.metrics[config.trial_id, epoch] = metrics
        self._hear("reported", config.trial_id, epoch)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None):
        self._hear("ended", config.trial_id, end.status)

    def _hear(self, *event: Any):
        self.events.append(event)
        self.at.pop(event, lambda: None)()


class TinyStudy:
    """A study on two shots of the digits that runs in seconds."""

    def __init__(self, storage: Path, name: str, backbone: Path, **values: Any):
        search = {
            "trials": 8,
            "selection": "holdout",
            "heads": ["text"],
            **values.pop("search", {}),
        }
        self.config: StudyConfig = build_config(
            {
                "name": name,
                "storage": str(storage),
                "data": {"shots": 2, "augment": False},
                "backbone": {"name": str(backbone)},
                "training": {"epochs": 4, "batch_size": 8},
                "search": search,
                "test": {"seeds": [1, 2], "runners_up": 1},
                "final": {"images": "shots"},
                "resources": {"max_concurrent": 1},  # so that trials come in one order
                **values,
            },
            name,
        )
        self.folder = StudyFolder(storage / name)
        if not self.folder.config_path.exists():
            self.folder.create(dump_config(self.config), {})
        self.study = Study(self.config, self.folder)
        self.architecture: Architecture = self.study.architecture
        self.preparer = Preparer(self.study, self.architecture.image_size)
        self.heard = Listener()

    @property
    def data(self) -> TrialData:
        """What the trials of the search read."""
        return self.preparer.search()

    def search(self, runner: Runner = run_trials):
        """Run the search, or what is left of it."""
        run_search(Study(self.config, self.folder), self.data, [self.heard], runner)

    def test(self, runner: Runner = run_trials):
        """Fix what is tested, and test it."""
        study = Study(self.config, self.folder)
        candidates = read_or_choose_candidates(study)
        data = {seed: self.preparer.test(seed) for seed in self.config.test.seeds}
        batch = plan_test(study, trainings_of(candidates), data)
        run_test(study, [batch], [self.heard], runner)


def optuna_trials(folder: StudyFolder) -> dict[str, FrozenTrial]:
    """What Optuna reads in the journal of a study, by the ids of the trials."""
    storage = JournalStorage(JournalFileBackend(str(folder.path / JOURNAL)))
    study = optuna.load_study(study_name=OPEN, storage=storage)
    return {trial.user_attrs["trial"]: trial for trial in study.trials}


def statuses(folder: StudyFolder) -> Counter[str | None]:
    return Counter(
        not_none(trial.read_end()).status if trial.read_end() else None for trial in folder.trials()
    )


def untimed(trial: TrialFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in report.items() if k not in TIMED} for report in trial.read_reports()]


def configs_of(folder: StudyFolder, stage: str = "search") -> list[TrialConfig]:
    return [TrialConfig.model_validate(config) for _, config in folder.trials_of(stage)]


def results(folder: StudyFolder) -> dict[str, Any]:
    """All that must be the same of trials, however they came to it."""
    return {
        trial.trial_id: (
            trial.read_config(),
            untimed(trial),
            replace(not_none(trial.read_end()), seconds=0.0),
            trial.read("delta.safetensors"),
            sorted(path.name for path in trial.path.iterdir()),
        )
        for trial in folder.trials()
    }


def kill_worker():
    """Kill the worker that runs trials for this process, as the machine's memory keeper would."""
    workers = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::ClipFitTrainable"):
                workers.append(process)
    (worker,) = workers
    worker.kill()
