"""What is sent of trials to MLflow, read back from a real store or server."""

from pathlib import Path
from typing import Any

import pytest

from study.storage.trial_folder import TrialFolder
from study.tracking.mlflow.sender import Sender
from tests.written_study import EPOCHS, MakeStudy, artifacts, history, runs, sync


def test_each_trial_is_a_child_that_ends_as_the_trial_did(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("ends")
    study.whole(0)
    study.whole(1, "stopped", 2, reason="successive halving at epoch 2")
    study.whole(2, "failed", 1, error="Traceback\nValueError: boom")
    assert sync(study, mlflow_server) == 3
    found = runs(mlflow_server, study)
    parent = found.pop("")
    ends = {trial: (run.info.status, run.data.tags["ended"]) for trial, run in found.items()}
    assert ends == {
        "search-0000": ("FINISHED", "finished"),
        "search-0001": ("FINISHED", "stopped"),  # a killed run looks like one that failed
        "search-0002": ("FAILED", "failed"),
    }
    for number, run in enumerate(found[f"search-{n:04d}"] for n in range(3)):
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags.items() >= {"stage": "search", "study": "ends", "split_hash": "f" * 16}.items()
        expected = {
            "subset": "vision.ln[0:2]",
            "ln_lr": str(0.01 + number),
            "distill_weight": "0.0",
            "head": "text",
            "strength": "1.0",
            "seed": "1",
            "dataset": "digits",
            "protocol": "few_shot",
            "backbone": "embedded",
            "shots": "16",
        }
        assert params == expected
        assert run.data.metrics["trainable"] == 1536
        assert run.data.metrics["seconds"] == 1.5
        reports = study.folder.trial(f"search-{number:04d}").read_reports()
        assert history(mlflow_server, run) == [(r["epoch"], r["val_score"]) for r in reports]
    assert found["search-0001"].data.tags["stop_reason"] == "successive halving at epoch 2"
    assert "boom" in found["search-0002"].data.tags["error"]
    assert artifacts(mlflow_server, found["search-0000"]) >= {"config.json", "delta.safetensors"}
    assert "delta.safetensors" in artifacts(mlflow_server, found["search-0001"])


@pytest.mark.parametrize("stage", ["search", "confirm"])
def test_the_first_metric_of_a_trial_of_the_search_is_its_score(
    mlflow_store: str, make: MakeStudy, stage: str
) -> None:
    study = make(f"ordered-{stage}")
    config = study.trial(0, stage=stage)
    sender, folder = Sender(study.study, mlflow_store), study.folder.trial(config.trial_id)
    for report in ({}, {}, {"val_score": 0.5}):  # as with a linear head
        epoch = len(folder.read_reports()) + 1
        folder.append_report({"epoch": epoch, "train_loss": 1.0, "seconds": 1.0, **report})
        sender.send_trial(config.trial_id)
        run = runs(mlflow_store, study)[config.trial_id]
        begun = stage == "confirm" or bool(report)
        assert bool(run.data.metrics) == begun, "its losses wait for its score"
    first = "val_score" if stage == "search" else "train_loss"
    assert next(iter(run.data.metrics)) == first, "MLflow lists them as they came"
    assert [step for step, _ in history(mlflow_store, run, "train_loss")] == [1, 2, 3]
    assert run.data.metrics["trainable"] == 1536


def test_a_running_trial_is_described_and_its_end_changes_that(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("described")
    config = study.trial(0)
    sender = Sender(study.study, mlflow_store)

    def described() -> str:
        sender.send_trial(config.trial_id)
        note: str = runs(mlflow_store, study)[config.trial_id].data.tags["mlflow.note.content"]
        return note

    assert described() == "`vision.ln[0:2]`, ln lr 0.01, λ 0"
    study.report(config, 1)
    study.end(config, "stopped", reason="successive halving at epoch 1")
    assert described() == (
        "1.0 % on validation, stopped after 1 epoch: successive halving at epoch 1, "
        "`vision.ln[0:2]`, ln lr 0.01, λ 0"
    )


def test_a_trial_that_ends_while_it_is_sent_loses_no_epoch(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("raced")
    config = study.trial(0)
    study.report(config, 1)
    read = TrialFolder.read_reports

    def read_and_end(folder: TrialFolder) -> Any:
        monkeypatch.undo()
        reports = read(folder)
        for epoch in (2, 3):
            study.report(config, epoch)
        study.end(config)
        return reports

    monkeypatch.setattr(TrialFolder, "read_reports", read_and_end)
    for _ in range(2):
        sync(study, mlflow_store)
    assert len(history(mlflow_store, runs(mlflow_store, study)["search-0000"])) == EPOCHS


@pytest.mark.parametrize("marks", ["kept", "lost"])
def test_sending_twice_doubles_nothing(mlflow_server: str, make: MakeStudy, marks: str) -> None:
    study = make(f"twice-{marks}")
    study.whole(0)
    study.whole(1, "stopped", 2)
    sync(study, mlflow_server)
    before = runs(mlflow_server, study)
    if marks == "lost":  # a driver died after sending and before it could mark that
        for mark in study.folder.path.glob("trials/*/mlflow.json"):
            mark.unlink()
    sync(study, mlflow_server)
    after = runs(mlflow_server, study)
    assert after.keys() == before.keys()
    for trial, run in after.items():
        earlier = before[trial]
        assert (run.info.run_id, run.info.status) == (earlier.info.run_id, earlier.info.status)
        for key in ("val_score", "train_loss", "seconds", "trainable"):
            assert history(mlflow_server, run, key) == history(mlflow_server, earlier, key)
    assert len(history(mlflow_server, after["search-0000"])) == EPOCHS


def test_a_study_is_sent_whole_to_another_server(
    mlflow_server: str,
    mlflow_store: str,
    make: MakeStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where a local store puts its artifacts
    study = make("moved")
    study.whole(0)
    sync(study, mlflow_server)
    sync(study, mlflow_store)
    found = runs(mlflow_store, study)
    assert found["search-0000"].info.status == "FINISHED"
    assert len(history(mlflow_store, found["search-0000"])) == EPOCHS
