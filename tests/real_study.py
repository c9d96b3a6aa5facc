"""Studies on real digits that really run, and finished ones around a training of such a study."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from study.backbones.architecture import Architecture
from study.config.labels import OPEN
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.config.trial_settings import HEADS, TrialSettings
from study.embedded import EMBEDDED
from study.method.delta import head_tensors, load_delta
from study.method.head import Head
from study.search.candidates import read_or_choose_candidates
from study.search.driver import run_trials
from study.search.groups import JOURNAL
from study.search.runner import run_in_process
from study.search.searcher import Rounds
from study.search.steps import plan_test, run_search, run_test, trainings_of
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, TrialFolder
from study.trial.prepare import Preparer
from study.trial.study import EpochReport, Study, TrialConfig, TrialData
from tests.not_none import not_none
from tests.settings import NONE
from tests.study_writer import StudyWriter, predictions_right

Runner = Callable[[Study, Rounds], None]
"""What runs the trials of a study: by Tune, or in this process."""
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


class RealStudy:
    """A study on two shots of the digits that runs in seconds."""

    def __init__(self, storage: Path, name: str, backbone: Path | str, **values: Any):
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
        study = Study(self.config, self.folder)
        runner(study, run_search(study, self.data, [self.heard]))

    def test(self, runner: Runner = run_trials):
        """Fix what is tested, and test it."""
        study = Study(self.config, self.folder)
        candidates = read_or_choose_candidates(study)
        data = {seed: self.preparer.test(seed) for seed in self.config.test.seeds}
        batch = plan_test(study, trainings_of(candidates), data)
        runner(study, run_test(study, [batch], [self.heard]))


SEEDS = (1, 2)
TRAINED = {"bias": 0.05, "ln": 0.1}
"""The rates at which CLIPFit is trained on the embedded digits."""
BEST = {"subset": "text.mlp.fc2.bias + vision.ln", "bias_lr": 0.05, "ln_lr": 0.1}
"""The settings of that training, as columns of tables."""
LINEAR = {"head": "linear", "alpha": 0.75}
"""What a linear head adds to the settings; its head is of the third digit and the first."""


def run_trained(storage: Path):
    """Search and test a study that trains CLIPFit on the embedded digits for a few epochs."""
    study = RealStudy(
        storage,
        "trained",
        EMBEDDED,
        data={"augment": False},
        search={
            "trials": 0,
            "selection": "folds",
            "folds": 2,
            "baselines": {**NONE, "clipfit": {"subset": "clipfit", "rates": TRAINED}},
        },
        training={"epochs": 6},
        test={"seeds": [*SEEDS]},
    )
    study.search(run_in_process)
    study.test(run_in_process)


class FinishedStudy(StudyWriter):
    """A study after test, whose best configuration has the delta of a real training.

    Args:
        path: its folder.
        storage: where `run_trained` has run.
        val_score: of the best configuration.
        test_score: of each of its seeds.
        images: of each class on test.
        right: how many of them are recognized; the share that is the test score if not given.
        linear: whether the best configuration has a linear head.
    """

    def __init__(
        self,
        path: Path,
        storage: Path,
        *,
        val_score: float = 0.8,
        test_score: float = 0.75,
        images: Sequence[int] = (90,) * 10,
        right: Sequence[int] | None = None,
        linear: bool = False,
    ):
        super().__init__(
            path,
            data={"augment": False},
            search={"selection": "holdout"},
            test={"seeds": [*SEEDS]},
            final={},
        )
        shutil.copytree(storage / "trained" / "shots", self.folder.path / "shots")
        (delta, *_) = sorted(storage.glob("trained/trials/test-*-seed1/delta.safetensors"))
        self._tensors, self._info = load_delta(delta)
        self._images, self._right = images, right
        self._best: JsonObject = BEST | (LINEAR if linear else {})
        zero_shot: JsonObject = {"group": "baseline", "label": "zero-shot", "subset": "none"}
        self.validate(0, 0.7, **zero_shot)
        self.validate(1, val_score, **self._best)
        self.validate(2, val_score - 0.1, **self._best | {"ln_lr": 0.01})
        for seed in SEEDS:
            self.test(seed, test_score=test_score)
        for label, columns, score, source_trial in (
            ("zero-shot", {"subset": "none"}, 0.7, "search-0000"),
            ("best", self._best, val_score, "search-0001"),
        ):
            own = TrialSettings.from_column_values(columns)
            fields = {"val_score": score, "source_trial": source_trial, "search_trials": 2}
            self.choose_also(label, own, **fields)
        self.conclude()

    def validate(self, number: int, score: float, **columns: Any) -> TrialConfig:
        """Write a finished trial of the search, whose head validation chooses."""
        head = columns.get("head", "text")
        config = self._trial(number, **columns | {"head": None})
        for epoch in (1, 2):
            now = score - 0.1 * (2 - epoch)
            metrics = {"seconds": 1.0, "train_loss": 1.0 - now, "val_score": now}
            self.record(config, EpochReport(epoch, epoch == 2, metrics, head=head))
        self.end(config)
        return config

    def test(self, seed: int, label: str = "best", test_score: float = 0.75):
        """Write a finished test with the trained delta; that of zero-shot CLIP is empty."""
        own: JsonObject = {"subset": "none"} if label == "zero-shot" else self._best
        trial_id = f"test-{label}-seed{seed}"
        names = {"trial_id": trial_id, "stage": "test", "group": label, "label": label}
        config = self._trial(seed, **names, seed=seed, epochs=1, **own)
        head = config.settings.head or "text"
        right = self._right or [round(images * test_score) for images in self._images]
        digits = [f"digit {number}" for number in range(len(self._images))]
        scores = {"accuracy": test_score, "score": test_score}
        metrics = {f"test_{name}": score for name, score in scores.items()}
        tensors = {} if label == "zero-shot" else self._tensors
        if "head" in own:
            tensors = tensors | head_tensors(self._head)
        report = EpochReport(
            1,
            True,
            {"seconds": 1.0, f"test_score_{head}": test_score, **metrics},
            deltas=(tensors,),
            predictions=predictions_right("accuracy", digits, self._images, right, head),
            head=head,
            scores=dict.fromkeys(HEADS, scores),
        )
        self.record(config, report, replace(self._info, subset=config.settings.subset))
        self.end(config)

    def _trial(self, number: int, **columns: Any) -> TrialConfig:
        trainable = 0 if columns["subset"] == "none" else 1728
        return self.trial(number, **{"ln_lr": None, "epochs": 2, "trainable": trainable} | columns)

    @property
    def _head(self) -> Head:
        """A head of the third digit and the first, of random rows."""
        dim = self.study.architecture.dim
        rows = torch.randn(2, dim, generator=torch.Generator().manual_seed(3))
        return Head(torch.nn.functional.normalize(rows, dim=-1), (2, 0))


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
