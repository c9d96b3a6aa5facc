"""Two studies at once, which share a folder, MLflow's SQLite store and its registry."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.storage.study_folder import StudyFolder
from tests.clusters.conftest import SMALL
from tests.not_none import not_none

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

EPOCHS = {"one": 3, "two": 6}


def assert_whole(folder: StudyFolder, runs: Sequence[Run]):
    """All trials have ended as configured, and MLflow has each of them once, with its score."""
    trials = list(folder.trials())
    (parent,) = (run for run in runs if "trial_id" not in run.data.tags)
    children = {run.data.tags.get("trial_id"): run for run in runs if run is not parent}
    assert children.keys() == {trial.trial_id for trial in trials}
    assert len(runs) == len(trials) + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    for trial in trials:
        run = children[trial.trial_id]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        config, reports = trial.read_config(), trial.read_reports()
        assert not_none(trial.read_end()).status == "finished"
        epochs = [report["epoch"] for report in reports if report["epoch"]]
        assert epochs == list(range(1, config["epochs"] + 1))
        if config["stage"] == "search":
            assert max(config["epochs"], EPOCHS[folder.name]) == EPOCHS[folder.name]
            score = reports[-1]["val_score"]
            assert run.data.metrics["val_score"] == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("joined", [False, True], ids=["a Ray of its own each", "one cluster"])
def test_two_studies_at_once_mix_nothing_and_the_better_has_the_alias(
    nodes: Any, joined: bool, tiny_backbone: Path, tmp_path: Path
):
    nodes.add_node(num_cpus=2)
    address = {"RAY_ADDRESS": nodes.address if joined else "local"}
    started = []
    for name, epochs in EPOCHS.items():
        own = [f"name={name}", f"training.epochs={epochs}", f"backbone.name={tiny_backbone}"]
        own += ["search.trials=8", "training.precision=float32", "resources.max_concurrent=1"]
        with (tmp_path / f"{name}.txt").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "study", *SMALL, *own],
                cwd=tmp_path,
                env=os.environ | address,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
    assert [process.wait() for process in started] == [0, 0], tmp_path

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'clipfit-study'")
    versions = {v.tags["study"]: v for v in client.search_model_versions("name='clipfit-digits'")}
    times = []
    for name in EPOCHS:
        folder = StudyFolder(tmp_path / "runs" / name)
        mine = f"tags.study = '{name}'"
        assert_whole(folder, client.search_runs([experiment.experiment_id], mine))
        assert not_none(folder.read_registration()).version == str(versions[name].version)
        assert "Traceback" not in (tmp_path / f"{name}.txt").read_text()
        times.append([r["ended_at"] for trial in folder.trials() for r in trial.read_reports()])
    assert max(map(min, times)) < min(map(max, times)), "they ran one after the other"
    assert not list((tmp_path / "runs" / "images").glob(".*")), "half a file"
    champion = client.get_model_version_by_alias("clipfit-digits", "champion").tags["val_score"]
    assert float(champion) == max(float(v.tags["val_score"]) for v in versions.values())
    assert len(versions) == len(EPOCHS)
