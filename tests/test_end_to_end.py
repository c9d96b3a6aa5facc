"""The whole of it: real digits, real Ray, a real MLflow server, and a driver that is killed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from study import run as run_module
from study.storage.study_folder import StudyFolder
from study.trial.study import read_candidates
from tests.real_study import configs_of
from tests.study_writer import StudyWriter
from tests.tracking.mlflow.records import assert_whole
from tests.tracking_server import mlflow_at

SCRIPT = Path(run_module.__file__ or "")
TRIALS, SEEDS = 6, (1, 2)
FEW = (
    "{clipfit: {subset: clipfit, rates: {bias: 0.01, ln: 0.01}}, bitfit: null, ln: null, "
    "linear: null, clap: null}"
)
OVERRIDES = [
    *("name=whole", "tracking.experiment=whole", "data.shots=4", "training.epochs=3"),
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
        self.server = server
        self.folder = StudyFolder(place / "runs" / "whole")
        options: Any = {"cwd": place, "env": {**os.environ, "MLFLOW_TRACKING_URI": server}}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        command = [sys.executable, str(SCRIPT)]
        driver = subprocess.Popen([*command, "quickstart", *OVERRIDES], **options)
        deadline = time.monotonic() + 240
        try:
            while len(list(self.folder.path.glob("trials/*/end.json"))) < 3:
                assert driver.poll() is None, driver.communicate()[0]
                assert time.monotonic() < deadline, "no trial ended"
                time.sleep(0.1)
        finally:
            driver.kill()  # by SIGKILL: nothing can be tidied up
        driver.communicate()
        self.killed_with = {
            path: path.read_bytes()
            for trial in self.folder.trials()
            if trial.read_end() is not None
            for path in trial.path.iterdir()
            if "mlflow.json" not in path.name  # neither it nor one that is being written
        }
        """The files of the trials that had ended when the driver was killed."""
        resumed = subprocess.run([*command, "resume", "whole"], timeout=400, check=False, **options)
        self.output: str = resumed.stdout
        assert resumed.returncode == 0, self.output
        with mlflow_at(server):
            runs = mlflow.search_runs(experiment_names=["whole"])
        self.runs: pd.DataFrame = runs.set_index(runs["tags.trial_id"].fillna("parent"))
        """All that MLflow has of it, by the trial's id."""


@pytest.fixture(scope="module")
def whole(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"), mlflow_server)


def test_it_ends_with_the_score_what_to_type_next_and_the_way_to_mlflow(whole: Whole):
    *_, ending = whole.output.rpartition("\n test ")
    assert len(ending.splitlines()) <= 15
    for word in ("others", "best", "against", "report", "page", "predict", "model"):
        assert f"\n {word}" in ending
    own = whole.runs.loc["parent"].run_id
    assert re.search(rf"page +{whole.server}/#/experiments/\d+/runs/{own}\?", whole.output)
    assert "Traceback" not in whole.output
    assert f"search   {TRIALS}/{TRIALS} done" in whole.output


def test_no_trial_was_lost_or_trained_twice_or_changed_by_the_resume(whole: Whole):
    search = configs_of(whole.folder)
    assert [config.number for config in search] == list(range(TRIALS))
    assert len({config.config_hash for config in search}) == TRIALS
    assert len({path.parent for path in whole.killed_with}) >= 3
    for path, contents in whole.killed_with.items():
        assert path.read_bytes() == contents


def test_mlflow_has_a_parent_and_a_child_for_each_trial_with_every_epoch_once(whole: Whole):
    assert_whole(whole.server, StudyWriter(whole.folder.path))


def test_only_tests_have_seen_test(whole: Whole):
    trained = {one.training for one in read_candidates(whole.folder) or ()}
    test = whole.runs[whole.runs["tags.stage"] == "test"]
    assert {*test.index} == {f"test-{name}-seed{seed}" for name in trained for seed in SEEDS}
    assert test["metrics.test_score"].notna().all()
    search = whole.runs[whole.runs["tags.stage"] == "search"]
    assert search["metrics.test_score"].isna().all()
    assert test.groupby("params.seed")["tags.split_hash"].nunique().eq(1).all()


def test_the_folder_is_small_and_has_every_plot_in_both_forms(whole: Whole):
    files = [path for path in whole.folder.path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGE
    assert {path.suffix for path in whole.folder.path.glob("plots/*")} == {".png", ".svg"}
