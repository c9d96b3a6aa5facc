"""A study by a protocol, a sampler and a tracker of another package, each an entry point."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import ray.cloudpickle
from optuna.samplers import BaseSampler, QMCSampler
from rich.console import Console

from study.commands.execution import run_study
from study.config.loading import build_config
from study.protocols import BaseToNew, FewShot
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker, TrackerMessages
from study.trial.config_hash import code_hash
from study.trial.study import Study
from tests.not_none import not_none

pytestmark = [pytest.mark.long, pytest.mark.ci]

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker has this file


class OnlyNew(BaseToNew):
    """Learning from the base classes, for new ones."""

    name = "only_new"
    sentence = "Only new: a model is scored by its accuracy on classes that it never saw."
    metric = "accuracy of new classes"

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        return {**parts, "score": parts.get("new", parts["base"])}


class ListTracker(Tracker):
    """A tracker that keeps the trials that have ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, int]] = []

    def start(self, study: Study) -> None:
        self._folder = study.folder

    def trial_changed(self, trial_id: str) -> None:
        end = self._folder.trial(trial_id).read_end()
        if end:
            self.ended.append((trial_id, end.status, end.epochs))

    def close(self, *, finished: bool) -> TrackerMessages:
        return TrackerMessages()


TRACKER = ListTracker()
SEEDS: list[int] = []


def sobol(seed: int) -> BaseSampler:
    SEEDS.append(seed)
    return QMCSampler(qmc_type="sobol", seed=seed, warn_independent_sampling=False)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path, ray_cluster: None
) -> Iterator[StudyFolder]:
    """The folder of a finished study of few seconds."""
    place = tmp_path_factory.mktemp("entry-points")
    package = place / "packages" / "mine-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[clipfit_study.protocols]\nonly_new = {__name__}:OnlyNew\n"
        f"[clipfit_study.samplers]\nsobol = {__name__}:sobol\n"
        f"[clipfit_study.trackers]\nlist = {__name__}:TRACKER\n"
    )
    values = {
        "name": "mine",
        "protocol": "only_new",
        "storage": str(place / "runs"),
        "backbone": {"name": str(tiny_backbone)},
        "data": {"shots": 2, "augment": False},
        "training": {"epochs": 1, "batch_size": 8},
        "search": {"trials": 8, "selection": "base", "asha": None, "sampler": "sobol"},
        "test": {"seeds": [1, 2], "runners_up": 0},
        "final": {"images": "shots"},
        "resources": {"max_concurrent": 1},
        "tracking": {"tracker": "list"},
    }
    folder = StudyFolder(place / "runs" / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(package.parent))
        study = Study(build_config(values, "mine"), folder)
        run_study(study, Console(quiet=True), resume=False, in_process=True)
        yield folder


def test_a_study_is_scored_by_the_protocol(folder: StudyFolder):
    (clipfit,) = (one for one in folder.read_json("candidates.json") if one["label"] == "clipfit")
    for seed in (1, 2):
        report = folder.trial(f"test-{clipfit['training']}-seed{seed}").read_reports()[-1]
        assert report["test_score"] == report["test_new"] != report["test_base"]
    assert OnlyNew.sentence in (folder.path / "report.html").read_text()
    assert code_hash(OnlyNew) != code_hash(FewShot)


def test_a_study_searches_with_the_sampler(folder: StudyFolder):
    assert SEEDS
    assert folder.is_complete()


def test_the_tracker_is_notified_of_each_trial(folder: StudyFolder):
    ends = {trial.trial_id: not_none(trial.read_end()) for trial in folder.trials()}
    assert sorted(TRACKER.ended) == sorted((name, "finished", ends[name].epochs) for name in ends)
    assert not (folder.path.parent.parent / "mlflow.db").exists()
