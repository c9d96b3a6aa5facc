"""What is sent of trials to MLflow, and to which runs, read back from a real store or server."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.storage.trial_folder import TrialFolder
from study.tracking.mlflow.sender import Sender
from tests.written_study import EPOCHS, MakeStudy, artifacts, history, runs, sync

TESTED = "test-0f0f0f0f0f0f-seed1"


def test_each_trial_is_a_child_that_ends_as_the_trial_did(mlflow_server: str, make: MakeStudy):
    study = make("ends")
    study.whole(0)
    study.whole(1, "stopped", 2, reason="successive halving at epoch 2")
    study.whole(2, "failed", 1, error="Traceback\nValueError: boom")
    assert sync(study, mlflow_server) == 3
    sent = runs(mlflow_server, study)
    parent = sent.pop("")
    ends = {trial: (run.info.status, run.data.tags["ended"]) for trial, run in sent.items()}
    assert ends == {
        "search-0000": ("FINISHED", "finished"),
        "search-0001": ("FINISHED", "stopped"),  # a killed run looks like one that failed
        "search-0002": ("FAILED", "failed"),
    }
    finished, stopped, failed = (sent[f"search-{number:04d}"] for number in range(3))
    for number, run in enumerate((finished, stopped, failed)):
        tags = {
            "mlflow.parentRunId": parent.info.run_id,
            **{"stage": "search", "study": "ends", "split_hash": "f" * 16},
        }
        assert run.data.tags.items() >= tags.items()
        assert run.data.params == {
            **{"subset": "vision.ln[0:2]", "ln_lr": str(0.01 + number), "distill_weight": "0.0"},
            **{"head": "text", "strength": "1.0", "seed": "1", "dataset": "digits"},
            **{"protocol": "few_shot", "backbone": "embedded", "shots": "16"},
        }
        assert run.data.metrics.items() >= {"trainable": 1536, "seconds": 1.5}.items()
        reports = study.folder.trial(f"search-{number:04d}").read_reports()
        assert history(mlflow_server, run) == [(r["epoch"], r["val_score"]) for r in reports]
    assert stopped.data.tags["stop_reason"] == "successive halving at epoch 2"
    assert "boom" in failed.data.tags["error"]
    assert artifacts(mlflow_server, finished) >= {"config.json", "delta.safetensors"}
    assert "delta.safetensors" in artifacts(mlflow_server, stopped)


def test_the_losses_of_a_trial_of_the_search_wait_for_its_score(mlflow_store: str, make: MakeStudy):
    study = make("ordered")
    trial = study.folder.trial(study.trial(0).trial_id)
    sender = Sender(study.study, mlflow_store)
    for epoch, report in enumerate(({}, {}, {"val_score": 0.5}), 1):  # as with a linear head
        trial.append_report({"epoch": epoch, "train_loss": 1.0, "seconds": 1.0, **report})
        sender.send_trial(trial.trial_id)
        run = runs(mlflow_store, study)[trial.trial_id]
        assert bool(run.data.metrics) == bool(report)
    assert next(iter(run.data.metrics)) == "val_score", "MLflow lists them as they came"
    assert [step for step, _ in history(mlflow_store, run, "train_loss")] == [1, 2, 3]


def test_a_trial_that_ends_while_it_is_sent_loses_no_epoch(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
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
def test_sending_twice_doubles_nothing(mlflow_store: str, make: MakeStudy, marks: str):
    study = make(f"twice-{marks}")
    study.whole(0)
    study.whole(1, "stopped", 2)

    def sent() -> list[Any]:
        sync(study, mlflow_store)
        told = []
        for run in runs(mlflow_store, study).values():
            keys = ("val_score", "train_loss", "seconds", "trainable")
            told.append((run.info, [history(mlflow_store, run, key) for key in keys]))
        return told

    before = sent()
    if marks == "lost":  # a driver died after sending and before it could mark that
        for mark in study.folder.path.glob("trials/*/mlflow.json"):
            mark.unlink()
    assert sent() == before


def test_a_study_is_sent_whole_to_another_server(
    mlflow_server: str,
    mlflow_store: str,
    make: MakeStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)  # where a local store puts its artifacts
    study = make("moved")
    study.whole(0)
    for uri in (mlflow_server, mlflow_store):
        sync(study, uri)
        run = runs(uri, study)["search-0000"]
        assert (run.info.status, len(history(uri, run))) == ("FINISHED", EPOCHS)


def test_a_test_has_the_label_of_its_candidate_and_the_best_are_marked(
    mlflow_store: str, make: MakeStudy
):
    study = make("starred")
    for number in range(2):
        study.whole(number)
    tested = study.trial(2, trial_id=TESTED, stage="test", label="0f0f0f0f0f0f")
    study.end(tested)

    def choose(trial_id: str, *labels: str) -> dict[str, str]:
        best = {"label": "best", "source_trial": trial_id, "training": "f0f0f0f0f0f0", "choice": 9}
        tested = best | {"training": "0f0f0f0f0f0f"}
        study.folder.write_json(
            "candidates.json",
            [
                candidate | {"settings": {"subset": "ln"}}
                for candidate in (*(tested | {"label": label} for label in labels), best)
            ],
        )
        sync(study, mlflow_store)
        sent = runs(mlflow_store, study)
        assert sent[TESTED].data.tags["label"] == labels[0]
        return {trial: run.info.run_name for trial, run in sent.items()}

    assert choose("search-0000", "clipfit", "best") == {
        **{"": "starred", "search-0000": "trial 0 ★", "search-0001": "trial 1"},
        TESTED: "clipfit ★ · seed 1",
    }
    # The search went on and found a better one, which has another training.
    assert choose("search-0001", "best-of-8") == {
        **{"": "starred", "search-0000": "trial 0", "search-0001": "trial 1 ★"},
        TESTED: "best-of-8 · seed 1",
    }


def unheard(*_: Any, **__: Any):
    """What a connection that is cut does."""
    raise ConnectionError("the connection was cut")


def test_a_run_is_found_again_where_its_creation_was_not_heard_of(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
    study = make("unheard")
    sender = Sender(study.study, mlflow_store)
    study.whole(0)
    create = MlflowClient.create_run

    def create_and_be_cut_off(*arguments: Any, **options: Any):
        create(*arguments, **options)
        unheard()

    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "create_run", create_and_be_cut_off)
        with pytest.raises(ConnectionError):
            sender.send_trial("search-0000")
    sender.send_trial("search-0000")
    assert runs(mlflow_store, study).keys() == {"", "search-0000"}


def test_a_trial_that_was_damaged_and_is_trained_again_keeps_its_run(
    mlflow_store: str, make: MakeStudy
):
    study = make("damaged")
    study.whole(0, "failed", 1, error="Traceback\nValueError: boom")
    sync(study, mlflow_store)
    before = runs(mlflow_store, study)["search-0000"]
    study.folder.trial("search-0000").reopen()
    sender = Sender(study.study, mlflow_store)
    sender.send_trial("search-0000")
    assert runs(mlflow_store, study)["search-0000"].info.status == "RUNNING"
    study.whole(0)
    sender.send_trial("search-0000")
    after = runs(mlflow_store, study)["search-0000"]
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")
    assert "error" not in after.data.tags
    assert after.data.metrics["epochs"] == EPOCHS
    assert [step for step, _ in history(mlflow_store, after)] == [1, 2, 3]


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_a_later_training_adds_no_second_point_to_what_was_sent_without_a_mark(
    mlflow_store: str, make: MakeStudy, marked: bool, ended: bool
):
    study = make(f"unmarked-{marked}-{ended}")
    config = study.trial(0)
    trial = study.folder.trial("search-0000")
    sync(study, mlflow_store)
    mark = (trial.path / "mlflow.json").read_bytes()
    for epoch in (1, 2):
        study.report(config, epoch, seconds=0.7)
    if ended:
        study.end(config, "finished")
    Sender(study.study, mlflow_store).send_trial("search-0000")
    if marked:  # the driver died before it wrote the present one
        (trial.path / "mlflow.json").write_bytes(mark)
    else:
        (trial.path / "mlflow.json").unlink()
    trial.reopen()
    sender = Sender(study.study, mlflow_store)
    for epoch in (1, 2):
        study.report(config, epoch, seconds=0.3)
        sender.send_trial("search-0000")
        assert runs(mlflow_store, study)["search-0000"].info.status == "RUNNING"
    study.end(config)
    sender.send_trial("search-0000")
    run = runs(mlflow_store, study)["search-0000"]
    assert [step for step, _ in history(mlflow_store, run)] == [1, 2]
    assert run.info.status == "FINISHED"
