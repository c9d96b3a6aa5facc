"""What tests of the search share: one Ray for all of them, and tiny studies on real digits."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from study.config import StudyConfig
from study.config_file import build_config, dump_config
from study.ledger import End, StudyFolder
from study.method.architecture import Architecture, read_architecture
from study.prepare import Preparer
from study.search.stages import run_confirm, run_search
from study.selection import fix_candidates
from study.trial import TrialConfig, TrialData


class Listener:
    """An observer that remembers; a test may do something at one of its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.at: dict[tuple[str, str, Any], Callable[[], object]] = {}

    def trial_started(self, config: TrialConfig) -> None:
        self._hear("started", config.trial_id, None)

    def trial_reported(self, config: TrialConfig, epoch: int, score: float | None) -> None:
        self._hear("reported", config.trial_id, epoch)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        self._hear("ended", config.trial_id, end.status)

    def _hear(self, *event: Any) -> None:
        self.events.append(event)
        self.at.pop(event, lambda: None)()


class TinyStudy:
    """A study on two shots of the digits that runs in seconds."""

    def __init__(self, storage: Path, name: str, backbone: Path, **values: Any) -> None:
        search = {"trials": 8, "selection": "holdout", **values.pop("search", {})}
        self.config: StudyConfig = build_config(
            {
                "name": name,
                "storage": str(storage),
                "data": {"shots": 2, "augment": False},
                "backbone": {"name": str(backbone)},
                "training": {"epochs": 4, "batch_size": 8},
                "search": search,
                "confirm": {"seeds": [1, 2], "runners_up": 1},
                "resources": {"max_concurrent": 1},  # so that trials come in one order
                **values,
            },
            name,
        )
        self.folder = StudyFolder(storage / name)
        if not self.folder.config_path.exists():
            self.folder.create(dump_config(self.config), {"git_commit": "unknown"})
        self.architecture: Architecture = read_architecture(backbone)
        self.preparer = Preparer(self.config, self.folder, self.architecture.image_size)
        self.heard = Listener()

    @property
    def data(self) -> TrialData:
        """What the trials of the search read."""
        return self.preparer.search()

    def search(self) -> None:
        """Run the search, or what is left of it."""
        run_search(self.config, self.folder, self.architecture, self.data, [self.heard])

    def confirm(self) -> None:
        """Fix the choice, and confirm it."""
        baselines, runners_up = self.config.search.baselines, self.config.confirm.runners_up
        candidates = fix_candidates(self.folder, baselines, runners_up)
        data = {seed: self.preparer.confirm(seed) for seed in self.config.confirm.seeds}
        run_confirm(
            self.config, self.folder, self.architecture, candidates, data, [self.heard]
        )  # fmt: skip


MakeStudy = Callable[..., TinyStudy]


@pytest.fixture(scope="session")
def make_study(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeStudy:
    """Make a tiny study by name; values go over its configuration's sections."""
    storage = tmp_path_factory.mktemp("runs")

    def make(name: str, **values: Any) -> TinyStudy:
        return TinyStudy(storage, name, tiny_backbone, **values)

    return make


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray of this process alone, of two CPUs and a GPU that is one in name alone."""
    import ray

    from study.search.driver import TUNE_ENVIRONMENT

    os.environ.update(TUNE_ENVIRONMENT)
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()
