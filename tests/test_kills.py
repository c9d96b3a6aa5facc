"""A driver that is killed again and again, wherever it is, and resumed each time."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study import run as run_module
from study.ledger import StudyFolder, TrialFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

SCRIPT = Path(run_module.__file__ or "")
TRIALS, EPOCHS = 8, 6
SMALL = ["name=mine", f"search.trials={TRIALS}", f"training.epochs={EPOCHS}", "data.shots=4"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0", "search.selection=holdout"]


def _of(folder: StudyFolder, stage: str) -> list[TrialFolder]:
    return [t for t in folder.trials() if t.config["stage"] == stage]


MOMENTS: dict[str, Callable[[StudyFolder], object]] = {
    "the study has begun": lambda f: f.config_path.exists(),
    "a trial has begun": lambda f: _of(f, "search"),
    "a trial is trained": lambda f: any(len(t.reports) > 1 and not t.end for t in f.trials()),
    "a trial has ended": lambda f: sum(t.end is not None for t in f.trials()) > 2,
    "the choice is fixed": lambda f: f.read_json("candidates.json"),
    "a confirmation has ended": lambda f: any(t.end for t in _of(f, "confirm")),
    "the results are written": lambda f: (f.path / "results.parquet").exists(),
}


class Killed:
    """A study that was killed at each of the moments, then resumed to its end."""

    def __init__(self, place: Path, backbone: Path) -> None:
        self.place = place
        self.folder = StudyFolder(place / "runs" / "mine")
        self._store = f"sqlite:///{place / 'mlflow.db'}"
        self.kept: dict[str, str] = {}
        """Results of trials that had ended at a kill, by file."""
        begin = ["quickstart", f"backbone.name={backbone}", *SMALL]
        for what, happened in MOMENTS.items():
            begun = self.folder.config_path.exists()
            self._kill(begin if not begun else ["--resume", "mine"], what, happened)
            for trial in self.folder.trials():
                if trial.end is not None:
                    for name in ("reports.jsonl", "end.json"):
                        text = (trial.path / name).read_text()
                        assert self.kept.setdefault(f"{trial.trial_id}/{name}", text) == text
        ended = self._start("--resume", "mine")
        self.output, _ = ended.communicate()
        assert ended.returncode == 0, self.output

    def _start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            cwd=self.place,
            env={**os.environ, "MLFLOW_TRACKING_URI": self._store},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _kill(
        self, arguments: list[str], what: str, happened: Callable[[StudyFolder], object]
    ) -> None:
        driver = self._start(*arguments)
        deadline = time.monotonic() + 240
        try:
            while not happened(self.folder):
                assert driver.poll() is None, f"{what}: it ended before\n{driver.communicate()[0]}"
                assert time.monotonic() < deadline, f"{what}: not so"
                time.sleep(0.02)
        finally:
            driver.kill()
            driver.communicate()

    @property
    def runs(self) -> pd.DataFrame:
        """All that MLflow has."""
        mlflow.set_tracking_uri(self._store)
        found: pd.DataFrame = mlflow.search_runs(search_all_experiments=True)
        return found


@pytest.fixture(scope="module")
def killed(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("killed"), tiny_backbone)


def test_every_trial_is_there_once_with_each_of_its_epochs_once(killed: Killed) -> None:
    search = _of(killed.folder, "search")
    assert [t.config["number"] for t in search] == list(range(TRIALS))
    trainings = {(t.config["subset_key"], t.config["bias_lr"], t.config["ln_lr"]) for t in search}
    assert len(trainings) == TRIALS
    wanted = [c for c in killed.folder.read_json("candidates.json") if c["same_as"] is None]
    assert len(_of(killed.folder, "confirm")) == 2 * len(wanted)
    for trial in killed.folder.trials():
        assert trial.end is not None
        assert trial.end.status in ("finished", "stopped")
        epochs = [report["epoch"] for report in trial.reports]
        assert epochs in ([0], list(range(1, trial.end.epochs + 1)))


def test_what_had_ended_is_kept_as_it_was(killed: Killed) -> None:
    assert killed.kept
    for name, text in killed.kept.items():
        assert (killed.folder.path / "trials" / name).read_text() == text


def test_the_search_keeps_its_history(killed: Killed) -> None:
    journal = JournalStorage(JournalFileBackend(str(killed.folder.path / "optuna.journal")))
    for arm in ("search", "clipfit-tuned"):
        trials = optuna.load_study(study_name=arm, storage=journal).trials
        assert not [t for t in trials if t.state is optuna.trial.TrialState.RUNNING]
        for trial in _of(killed.folder, "search"):
            if trial.config["arm"] == arm:
                told = trials[trial.config["optuna_number"]]
                assert told.value == trial.reports[-1]["val_score"]


def test_mlflow_has_one_run_a_trial_and_none_that_runs(killed: Killed) -> None:
    runs = killed.runs
    trials = Counter(runs["tags.trial_id"].dropna())
    assert trials == Counter(t.trial_id for t in killed.folder.trials())
    assert len(runs) == len(trials) + 1
    assert not set(runs["status"]) & {"RUNNING", "SCHEDULED"}
