"""The whole of it: real digits, real Ray, a real MLflow server, and a driver that is killed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from study import run as run_module
from study.storage.study_folder import StudyFolder
from tests.mlflow_address import mlflow_at
from tests.not_none import not_none
from tests.whole_study import assert_whole

SCRIPT = Path(run_module.__file__ or "")
TRIALS, EPOCHS, SEEDS = 6, 3, (1, 2)
FEW = (
    "{clipfit: {subset: clipfit, rates: {bias: 0.01, ln: 0.01}}, bitfit: null, ln: null, "
    "linear: null, clap: null}"
)
OVERRIDES = [
    *("name=whole", "tracking.experiment=whole", "data.shots=4", f"training.epochs={EPOCHS}"),
    *(f"search.trials={TRIALS}", "search.heads=[text]", "search.selection=holdout"),
    *("test.seeds=[1, 2]", "test.runners_up=0"),
    *("final.images=shots", f"search.baselines={FEW}"),
]
LARGE = 8_000_000
"""Bytes that a study may not take."""

pytestmark = [pytest.mark.long, pytest.mark.ci, pytest.mark.timeout(600)]


class Whole:
    """A study that was killed in its search and resumed to its end."""

    def __init__(self, place: Path, server: str):
        self.place, self.server = place, server
        self.folder = StudyFolder(place / "runs" / "whole")
        self.killed_with: dict[str, bytes] = {}
        """Files of the trials that had ended when the driver was killed."""
        self.output = ""

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the command line as a user does."""
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            cwd=self.place,
            env={**os.environ, "MLFLOW_TRACKING_URI": self.server},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def files(self) -> dict[str, bytes]:
        """The files of trials that have ended, less the mark of what was sent."""
        return {
            str(path): path.read_bytes()
            for trial in self.folder.trials()
            if trial.read_end() is not None
            for path in trial.path.iterdir()
            if "mlflow.json" not in path.name  # neither it nor one that is being written
        }

    @property
    def runs(self) -> pd.DataFrame:
        """All that MLflow has of it, by the trial's id."""
        with mlflow_at(self.server):
            found = mlflow.search_runs(experiment_names=["whole"])
        return found.set_index(found["tags.trial_id"].fillna("parent"))


@pytest.fixture(scope="module")
def whole(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    study = Whole(tmp_path_factory.mktemp("whole"), mlflow_server)
    driver = study.start("quickstart", *OVERRIDES)
    ends = study.folder.path / "trials"
    deadline = time.monotonic() + 240
    try:
        while len(list(ends.glob("*/end.json"))) < 3:
            assert driver.poll() is None, driver.communicate()[0]
            assert time.monotonic() < deadline, "no trial ended"
            time.sleep(0.1)
    finally:
        driver.kill()  # by SIGKILL: nothing can be tidied up
    driver.communicate()
    study.killed_with = study.files()
    resumed = study.start("resume", "whole")
    try:
        study.output, _ = resumed.communicate(timeout=400)
    finally:
        resumed.kill()
    assert resumed.returncode == 0, study.output
    return study


def test_it_ends_with_the_score_what_to_type_next_and_the_way_to_mlflow(whole: Whole):
    *_, ending = whole.output.rpartition("\n test ")
    assert len(ending.splitlines()) <= 15
    for word in ("beside", "best", "against", "report", "page", "predict", "model"):
        assert f"\n {word}" in ending
    own = whole.runs.loc["parent"].run_id
    assert re.search(rf"page +{whole.server}/#/experiments/\d+/runs/{own}\?", whole.output)
    assert "Traceback" not in whole.output
    assert f"search   {TRIALS}/{TRIALS} done" in whole.output


def test_no_trial_was_lost_or_trained_twice(whole: Whole):
    search = [t for t in whole.folder.trials() if t.read_config()["stage"] == "search"]
    assert [t.read_config()["number"] for t in search] == list(range(TRIALS))
    assert len({t.read_config()["config_hash"] for t in search}) == TRIALS


def test_what_had_ended_before_the_kill_is_byte_for_byte_as_it_was(whole: Whole):
    assert len({Path(path).parent for path in whole.killed_with}) >= 3
    for path, contents in whole.killed_with.items():
        assert Path(path).read_bytes() == contents


def test_mlflow_has_a_parent_and_a_child_for_each_trial_with_every_epoch_once(whole: Whole):
    client = MlflowClient(whole.server)
    experiment = not_none(client.get_experiment_by_name("whole"))
    assert_whole(whole.folder, client, experiment.experiment_id)


def test_only_tests_have_seen_test(whole: Whole):
    candidates = whole.folder.read_json("candidates.json")
    trained = {c["training"] for c in candidates}
    runs = whole.runs
    test = runs[runs["tags.stage"] == "test"]
    assert set(test.index) == {
        f"test-{training}-seed{seed}" for training in trained for seed in SEEDS
    }
    assert test["metrics.test_score"].notna().all()
    assert runs[runs["tags.stage"] == "search"]["metrics.test_score"].isna().all()
    assert test.groupby("params.seed")["tags.split_hash"].nunique().eq(1).all()


def test_artifacts_are_where_they_are_looked_for(whole: Whole):
    client = MlflowClient(whole.server)
    runs = whole.runs

    def names(trial_id: str) -> set[str]:
        return {item.path for item in client.list_artifacts(runs.loc[trial_id].run_id)}

    assert names("parent") >= {
        *("study.yaml", "candidates.json", "results.parquet", "leaderboard.md", "report.html"),
    }
    assert names("search-0001") >= {"config.json", "delta.safetensors"}
    candidates = whole.folder.read_json("candidates.json")
    clipfit = next(c["training"] for c in candidates if c["label"] == "clipfit")
    assert names(f"test-{clipfit}-seed1") >= {"delta.safetensors", "predictions.parquet"}


def test_the_folder_is_small_and_has_every_plot_in_both_forms(whole: Whole):
    files = [path for path in whole.folder.path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGE
    assert {path.suffix for path in whole.folder.path.glob("plots/*")} == {".png", ".svg"}
