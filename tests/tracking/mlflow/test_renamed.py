"""A trial that is renamed keeps its run: an extended study sets its earlier winner aside."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.config.loading import build_config, dump_config
from study.storage.ledger import End, StudyFolder
from study.tracking.mlflow.runs import RunWriter


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    config = build_config({"name": "mine"}, "test")
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(config), {"git_commit": "unknown"})
    trial = folder.trial("confirm-best-seed1")
    trial.create(
        {
            "trial_id": "confirm-best-seed1",
            "stage": "confirm",
            "arm": "best",
            "label": "best",
            "number": 0,
            "seed": 1,
            "subset": "vision.ln",
            "subset_key": "0",
            "bias_lr": None,
            "ln_lr": 0.1,
            "distill_weight": 0.0,
            "trainable": 10,
            "split_hash": "0",
        }
    )
    trial.append_report({"epoch": 1, "test_score": 0.5, "seconds": 1.0})
    trial.write_end(End("finished", 1, 1.0))
    writer = RunWriter(config, folder, f"sqlite:///{tmp_path / 'mlflow.db'}")
    writer.open_study()
    writer.sync_trial("confirm-best-seed1")
    folder.trial("confirm-best-seed1").rename("confirm-best-of-8-seed1", label="best-of-8")
    return writer


def confirmations(writer: RunWriter) -> list[Run]:
    client: MlflowClient = writer.client
    return list(client.search_runs([writer.experiment_id], "tags.stage = 'confirm'"))


def test_its_run_follows_and_no_second_one_is_made(writer: RunWriter) -> None:
    writer.sync_trial("confirm-best-of-8-seed1")
    (run,) = confirmations(writer)
    assert run.data.tags["trial_id"] == "confirm-best-of-8-seed1"
    assert run.data.tags["label"] == "best-of-8"
    assert run.info.run_name == "best-of-8 · seed 1"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_score"] == 0.5


def test_what_is_sent_under_the_old_name_is_no_fault(writer: RunWriter) -> None:
    writer.sync_trial("confirm-best-seed1")
    (run,) = confirmations(writer)
    assert run.info.run_name == "best · seed 1"
