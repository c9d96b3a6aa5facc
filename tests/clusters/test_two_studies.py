"""Two studies at once, which share a folder, MLflow's SQLite store and its registry."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.storage.study_folder import StudyFolder
from tests.clusters.conftest import SMALL, assert_finished
from tests.not_none import not_none

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

EPOCHS = {"one": 3, "two": 6}


@pytest.mark.parametrize("joined", [False, True], ids=["a Ray of its own each", "one cluster"])
def test_two_studies_at_once_mix_nothing_and_the_better_has_the_alias(
    nodes: Any, joined: bool, tiny_backbone: Path, tmp_path: Path
):
    nodes.add_node(num_cpus=2)
    environment = os.environ | {"RAY_ADDRESS": nodes.address if joined else "local"}
    started = []
    for name, epochs in EPOCHS.items():
        own = [f"name={name}", f"training.epochs={epochs}", f"backbone.name={tiny_backbone}"]
        own += ["search.trials=8", "training.precision=float32", "resources.max_concurrent=1"]
        command = [sys.executable, "-m", "study", *SMALL, *own]
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment))
    assert [process.wait() for process in started] == [0, 0]

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    versions = {v.tags["study"]: v for v in client.search_model_versions("name='clipfit-digits'")}
    times = []
    for name, epochs in EPOCHS.items():
        folder = StudyFolder(tmp_path / "runs" / name)
        assert_finished(folder, f"sqlite:///{tmp_path}/mlflow.db")
        assert {config["epochs"] for _, config in folder.trials_of("search")} == {0, epochs}
        assert not_none(folder.read_registration()).version == str(versions[name].version)
        times.append([r["ended_at"] for trial in folder.trials() for r in trial.read_reports()])
    assert max(map(min, times)) < min(map(max, times)), "they ran one after the other"
    assert not list((tmp_path / "runs" / "images").glob(".*")), "half a file"
    champion = client.get_model_version_by_alias("clipfit-digits", "champion").tags["val_score"]
    assert float(champion) == max(float(v.tags["val_score"]) for v in versions.values())
    assert len(versions) == len(EPOCHS)
