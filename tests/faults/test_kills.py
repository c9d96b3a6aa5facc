"""A driver that is killed at 20 moments, wherever it is and whatever it writes, and resumed."""

import json
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.config.loading import load_frozen
from study.data.shots import read_shots
from study.storage.atomic import Checksums
from study.storage.ledger import StudyFolder, TrialFolder

from .conftest import Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

SEED = 20
TRIALS, EPOCHS = 10, 3
SMALL = ["name=mine", f"search.trials={TRIALS}", f"training.epochs={EPOCHS}", "data.shots=4"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0", "search.selection=holdout"]
# CLIPFit's neighbours begin at the best rates so far, which depend on the order of the ends.
SMALL += ["search.sampler=random", "search.asha=null", "search.space.neighbours=false"]
TIMED = ("seconds", "ended_at", "images_per_second")

STAGES = ("beginning", "searching", "confirming", "reporting")
PLAN = ("beginning",) * 4 + ("searching",) * 8 + ("confirming",) * 4 + ("reporting",) * 4
WRITTEN = {
    "beginning": ("identity.json", "study.yaml", "shots-", "tasks-", "digits"),
    "searching": ("optuna.journal", "config.json", "end.json", "sha256.txt", "mlflow.json"),
    "confirming": ("candidates.json", "optimism.json", "config.json", "end.json", "mlflow.json"),
    "reporting": (
        "chance.json",
        "registered.json",
        "results.parquet",
        "leaderboard.md",
        "report.html",
    ),
}
"""How the names of the files begin that a driver writes at a stage."""
AT_LATEST = {
    "beginning": "optuna.journal",
    "searching": "candidates.json",
    "confirming": "results.parquet",
}
"""What ends a driver before it comes to the next stage."""
TURNS = {"optuna.journal": 20, "config.json": 2, "end.json": 2, "mlflow.json": 2}
"""Up to how often it is written before the driver dies, if not once."""
MOST_SECONDS = {"beginning": 4.0, "searching": 12.0, "confirming": 10.0, "reporting": 5.0}
"""From a driver's start to a kill that does not wait for a file."""


def _of(folder: StudyFolder, stage: str) -> list[TrialFolder]:
    return [t for t in folder.trials() if t.read_config()["stage"] == stage]


def _stage(folder: StudyFolder) -> str:
    """Tell how far a study has come."""
    if not _of(folder, "search") if folder.config_path.exists() else True:
        return "beginning"
    if folder.read_json("candidates.json") is None:
        return "searching"
    confirmed = _of(folder, "confirm")
    wanted = [c for c in folder.read_json("candidates.json") if c["same_as"] is None]
    ended = [t for t in confirmed if t.read_end() is not None]
    return "reporting" if len(ended) == 2 * len(wanted) else "confirming"


class Killed:
    """A study that was killed at each of the moments, then resumed to its end."""

    def __init__(self, place: Path, drivers: Drivers) -> None:
        self.place = place
        self.folder = StudyFolder(place / "runs" / "mine")
        self.begin = ["quickstart", *SMALL]
        self.kept: dict[str, bytes] = {}
        """Files of trials that had ended at a kill."""
        self.moments: list[str] = []
        chance = random.Random(SEED)
        for planned in PLAN:
            self._kill(drivers, planned, chance)
            self._look()
        status, self.output = drivers.run(self._arguments, place)
        assert status == 0, self.output

    @property
    def _arguments(self) -> list[str]:
        return ["resume", "mine"] if self.folder.config_path.exists() else self.begin

    def _kill(self, drivers: Drivers, planned: str, chance: random.Random) -> None:
        """Run it until it dies; one that ends before the moment comes is started again."""
        for _ in range(4):
            stage = max(planned, _stage(self.folder), key=STAGES.index)
            name = chance.choice(WRITTEN[stage])
            turn = chance.randint(1, TURNS.get(name, 1))
            when = chance.choice(("half", "written", "renamed"))
            if name in ("optuna.journal", "sha256.txt"):  # which grow, and are not renamed
                when = "half"
            timed = chance.random() < 0.3
            seconds = chance.uniform(0, MOST_SECONDS[stage]) if timed else None
            faults = [] if timed else [{"name": name, "when": when, "turn": turn}]
            told = f"{stage}: {f'after {seconds:.1f} s' if timed else faults[0]}"
            if stage in AT_LATEST:
                faults.append({"name": AT_LATEST[stage], "when": "written", "turn": 1})
            status, output = drivers.run(
                self._arguments, self.place, faults=faults, seconds=seconds
            )
            if status == -signal.SIGKILL:
                self.moments.append(told)
                return
            assert status == 0, f"{told}: {output}"
        pytest.fail(f"it was not killed: {told}")

    def _look(self) -> None:
        """See that what ended stays as it is, and that no file is there in part."""
        for pattern in ("[!.]*.json", "trials/*/[!.]*.json"):
            for path in self.folder.path.glob(pattern):
                json.loads(path.read_bytes())
        for path in self.folder.path.glob("shots/shots-*"):
            read_shots(path)
        for path in self.folder.path.glob("*.parquet"):
            pq.read_table(path)
        for trial in self.folder.trials():
            assert not trial.damaged()
            if trial.read_end() is not None:
                for name in Checksums(trial.path).names:
                    data = (trial.path / name).read_bytes()
                    assert self.kept.setdefault(f"{trial.trial_id}/{name}", data) == data

    @property
    def runs(self) -> pd.DataFrame:
        """All that MLflow has."""
        mlflow.set_tracking_uri(f"sqlite:///{self.place / 'mlflow.db'}")
        found: pd.DataFrame = mlflow.search_runs(search_all_experiments=True)
        return found


@pytest.fixture(scope="module")
def killed(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    killed = Killed(tmp_path_factory.mktemp("killed"), drivers)
    print("\n".join(killed.moments))
    return killed


@pytest.fixture(scope="module")
def unharmed(
    drivers: Drivers, killed: Killed, tmp_path_factory: pytest.TempPathFactory
) -> StudyFolder:
    """The same study, not interrupted."""
    place = tmp_path_factory.mktemp("unharmed")
    status, output = drivers.run(killed.begin, place)
    assert status == 0, output
    return StudyFolder(place / "runs" / "mine")


def test_it_was_killed_at_twenty_moments(killed: Killed) -> None:
    assert len(killed.moments) == 20
    assert {moment.partition(":")[0] for moment in killed.moments} == set(STAGES)


def test_every_trial_is_there_once_with_each_of_its_epochs_once(killed: Killed) -> None:
    search = [t.read_config() for t in _of(killed.folder, "search")]
    assert [config["number"] for config in search] == list(range(len(search)))
    plans = load_frozen(killed.folder.config_path).search.plans
    assert sum(plans(config["arm"], config["label"]) for config in search) == TRIALS
    trainings = {
        (c["subset_key"], *(str(v) for k, v in c["settings"].items() if k != "subset"))
        for c in search
    }
    assert len(trainings) == len(search)
    wanted = [c for c in killed.folder.read_json("candidates.json") if c["same_as"] is None]
    assert len(_of(killed.folder, "confirm")) == 2 * len(wanted)
    for trial in killed.folder.trials():
        assert trial.read_end() is not None
        assert trial.read_end().status == "finished"
        epochs = [report["epoch"] for report in trial.read_reports()]
        assert epochs in ([0], list(range(1, trial.read_end().epochs + 1)))


def test_what_had_ended_is_kept_as_it_was(killed: Killed) -> None:
    assert len(killed.kept) > 4 * TRIALS
    for name, data in killed.kept.items():
        assert (killed.folder.path / "trials" / name).read_bytes() == data


def test_it_tried_what_an_uninterrupted_study_tries_with_the_same_results(
    killed: Killed, unharmed: StudyFolder
) -> None:
    def told(folder: StudyFolder) -> dict[str, Any]:
        return {
            trial.trial_id: (
                {k: v for k, v in trial.read_config().items() if k != "optuna_number"},
                [{k: v for k, v in r.items() if k not in TIMED} for r in trial.read_reports()],
            )
            for trial in folder.trials()
        }

    assert told(killed.folder) == told(unharmed)
    choice = "candidates.json"
    assert killed.folder.read_json(choice) == unharmed.read_json(choice)


def test_the_search_keeps_its_history(killed: Killed) -> None:
    journal = JournalStorage(JournalFileBackend(str(killed.folder.path / "optuna.journal")))
    for arm in ("search", "clipfit-tuned"):
        trials = optuna.load_study(study_name=arm, storage=journal).trials
        assert not [t for t in trials if t.state is optuna.trial.TrialState.RUNNING]
        for trial in _of(killed.folder, "search"):
            if trial.read_config()["arm"] == arm:
                told = trials[trial.read_config()["optuna_number"]]
                assert told.value == trial.read_reports()[-1]["val_score"]


def test_mlflow_has_one_run_a_trial_and_none_that_runs(killed: Killed) -> None:
    runs = killed.runs
    trials = Counter(runs["tags.trial_id"].dropna())
    assert trials == Counter(t.trial_id for t in killed.folder.trials())
    assert len(runs) == len(trials) + 1
    assert set(runs["status"]) == {"FINISHED"}


def test_the_results_table_is_complete(killed: Killed) -> None:
    table = pq.read_table(killed.folder.path / "results.parquet").to_pandas()
    assert sorted(table["trial_id"]) == sorted(t.trial_id for t in killed.folder.trials())
    assert set(table["status"]) == {"finished"}
    assert table["test_score"].notna().sum() == len(_of(killed.folder, "confirm"))
    assert (killed.folder.path / "report.html").exists()
