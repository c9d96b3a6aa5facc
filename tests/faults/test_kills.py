"""A driver that is killed while it writes each of its files, and resumed each time."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest

from study.storage.atomic import Checksums
from study.storage.study_folder import StudyFolder
from tests.not_none import not_none

from .conftest import Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

SMALL = ["quickstart", "name=mine", "search.trials=10", "training.epochs=3", "data.shots=4"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0", "search.selection=holdout"]
# CLIPFit's neighbours begin at the best rates so far, which depend on the order of the ends.
SMALL += ["search.sampler=random", "search.asha=null", "search.space.neighbours=false"]
TIMED = ("seconds", "ended_at", "images_per_second")
WRITTEN = [
    ("identity.json", "half", 1),
    ("study.yaml", "renamed", 1),
    ("tasks-", "written", 1),
    ("optuna.journal", "half", 20),
    ("config.json", "written", 2),
    ("end.json", "half", 2),
    ("sha256.txt", "half", 2),
    ("mlflow.json", "renamed", 2),
    ("candidates.json", "written", 1),
    ("results.parquet", "half", 1),
    ("report.html", "renamed", 1),
]
"""How the name of a file begins, the moment of its writing, and which writing it is, from 1."""


class Killed:
    """A study that was killed at each of the moments, then resumed to its end."""

    def __init__(self, place: Path, drivers: Drivers) -> None:
        self.place = place
        self.folder = StudyFolder(place / "runs" / "mine")
        self.kept: dict[Path, bytes] = {}
        """Files of trials that had ended at a kill."""
        for name, when, turn in WRITTEN:
            fault = {"name": name, "when": when, "turn": turn}
            status, output = drivers.run(self._arguments, place, faults=[fault])
            assert status == -signal.SIGKILL, f"{name}: {output}"
            self._look()
        status, output = drivers.run(self._arguments, place)
        assert status == 0, output

    @property
    def _arguments(self) -> list[str]:
        return ["resume", "mine"] if self.folder.config_path.exists() else SMALL

    def _look(self) -> None:
        """Keep the files of trials that have ended."""
        for trial in self.folder.trials():
            assert not trial.damaged()
            if trial.read_end() is not None:
                for name in Checksums(trial.path).names:
                    path = trial.path / name
                    self.kept.setdefault(path, path.read_bytes())


@pytest.fixture(scope="module")
def killed(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("killed"), drivers)


def test_what_had_ended_is_kept_as_it_was(killed: Killed) -> None:
    assert len(killed.kept) > 40
    for path, contents in killed.kept.items():
        assert path.read_bytes() == contents


def test_it_tried_what_an_uninterrupted_study_tries_with_the_same_results(
    killed: Killed, drivers: Drivers, tmp_path: Path
) -> None:
    def told(folder: StudyFolder) -> dict[str, Any]:
        return {
            trial.trial_id: (
                {k: v for k, v in trial.read_config().items() if k != "optuna_number"},
                [{k: v for k, v in r.items() if k not in TIMED} for r in trial.read_reports()],
                trial.read_end() and not_none(trial.read_end()).status,
            )
            for trial in folder.trials()
        }

    status, output = drivers.run(SMALL, tmp_path)
    assert status == 0, output
    unharmed = StudyFolder(tmp_path / "runs" / "mine")
    assert told(killed.folder) == told(unharmed)
    assert killed.folder.read_json("candidates.json") == unharmed.read_json("candidates.json")
    table = pq.read_table(killed.folder.path / "results.parquet")
    assert sorted(table["trial_id"].to_pylist()) == sorted(told(unharmed))


def test_mlflow_has_one_run_a_trial_and_none_that_runs(killed: Killed) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{killed.place / 'mlflow.db'}")
    runs = mlflow.search_runs(search_all_experiments=True)
    trials = Counter(runs["tags.trial_id"].dropna())
    assert trials == Counter(trial.trial_id for trial in killed.folder.trials())
    assert len(runs) == len(trials) + 1
    assert set(runs["status"]) == {"FINISHED"}
