"""Runs that an earlier version sent become like today's, and keep what cannot change.

Such a run has parameters and metrics of all digits, no dataset and no description, and is killed
where its trial was stopped.
"""

import json
from dataclasses import asdict
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from written_study import EPOCHS, MakeStudy, Written, history, runs, started

from study.storage.ledger import End
from study.tracking.mlflow import server
from study.tracking.mlflow.marks import Mark
from study.tracking.mlflow.mirror import sync_study
from study.tracking.mlflow.runs import TRIAL_ARTIFACTS, RunWriter

RATE, SCORE = 0.08404840643566887, 0.8541666666666667
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


def write(study: Written, number: int, status: Any, **told: Any) -> None:
    """Write a trial whose values have many digits."""
    config = study.trial(number, ln_lr=RATE)
    folder = study.folder.trial(config.trial_id)
    for epoch in range(1, EPOCHS + 1):
        score = SCORE - 0.1 * (EPOCHS - epoch)
        folder.append_report(
            {"epoch": epoch, "train_loss": 1 / 3, "val_score": score, "seconds": 0.123456789}
        )
    study.end(config, status, **told)


def send_as_before(study: Written, uri: str, *, marked: bool = True) -> dict[str, Run]:
    """Send trials as the earlier version did; give the runs."""
    writer = RunWriter(study.study, uri)
    client = MlflowClient(uri)
    for folder in study.folder.trials():
        config, end, reports = folder.read_config(), folder.read_end(), folder.read_reports()
        began = 1_700_000_000_000
        run = client.create_run(
            writer.experiment_id,
            start_time=began,
            run_name=config["label"],
            tags=writer.trial_tags(config),
        )
        run_id = run.info.run_id
        params = writer.trial_params(config) | {"ln_lr": str(RATE)}
        client.log_batch(
            run_id,
            metrics=[Metric("trainable", config["trainable"], began, 0)],
            params=[Param(key, value) for key, value in params.items()],
        )
        passed = 0.0
        for report in reports:
            passed += report["seconds"]
            at = began + int(1000 * passed)
            values = {key: report[key] for key in ("train_loss", "val_score")}
            points = [Metric(k, v, at, report["epoch"]) for k, v in values.items()]
            client.log_batch(run_id, metrics=points)
        client.set_tag(run_id, "stop_reason", end.reason or end.status)
        totals = [Metric(key, getattr(end, key), began, 0) for key in ("epochs", "seconds")]
        client.log_batch(run_id, metrics=totals)
        server.send_files(client, run_id, folder.path, TRIAL_ARTIFACTS, known=folder.path)
        client.set_terminated(run_id, STATUS[end.status], end_time=began + 5000)
        if marked:
            mark = Mark(writer.parent_id, run_id, folder.trial_id, began)
            mark.note(reports, end)
            known = asdict(mark)
            del known["form"]
            folder.write("mlflow.json", json.dumps(known))
    return runs(uri, study)


@pytest.fixture
def study(make: MakeStudy, request: pytest.FixtureRequest) -> Written:
    """A study of one finished, one stopped and one failed trial."""
    study = make(f"before-{abs(hash(request.node.name))}")
    write(study, 0, "finished")
    write(study, 1, "stopped", reason="successive halving at epoch 3")
    write(study, 2, "failed", error="Traceback\nValueError: boom")
    study.conclude()
    return study


def assert_renewed(uri: str, study: Written, before: dict[str, Run]) -> None:
    """The runs are the same ones and say what runs do today; nothing is there twice."""
    after = runs(uri, study)
    assert {t: run.info.run_id for t, run in after.items()} == {
        t: run.info.run_id for t, run in before.items()
    }
    for trial_id, end in (("search-0000", "finished"), ("search-0001", "stopped")):
        run, earlier = after[trial_id], before[trial_id]
        assert (run.info.status, run.data.tags["ended"]) == ("FINISHED", end)
        assert run.data.tags["mlflow.note.content"].startswith("85.4 % on validation")
        assert run.data.params == earlier.data.params
        assert run.data.params["ln_lr"] == str(RATE)
        for key in earlier.data.metrics:
            points = history(uri, run, key)
            assert len(points) == len({step for step, _ in points}), f"{key} is there twice"
        assert history(uri, run)[-1] == (EPOCHS, SCORE)
    assert after["search-0002"].info.status == "FAILED"


def test_a_study_that_is_sent_again_is_renewed_and_nothing_of_it_was_missing(
    study: Written, mlflow_server: str
) -> None:
    before = send_as_before(study, mlflow_server)
    assert before["search-0001"].info.status == "KILLED"
    assert sync_study(study.study, mlflow_server) == (3, 0)
    assert_renewed(mlflow_server, study, before)
    assert sync_study(study.study, mlflow_server) == (3, 0)
    assert_renewed(mlflow_server, study, before)


def test_a_study_that_is_resumed_is_renewed_beside_its_new_trials(
    study: Written, mlflow_store: str
) -> None:
    before = send_as_before(study, mlflow_store)
    tracker = started(study, mlflow_store)
    write(study, 3, "stopped")
    tracker.look_again()
    assert tracker.close(finished=True) == {}
    new = runs(mlflow_store, study)["search-0003"]
    assert (new.info.status, new.data.params["ln_lr"]) == ("FINISHED", "0.08405")
    MlflowClient(mlflow_store).delete_run(new.info.run_id)
    assert_renewed(mlflow_store, study, before)


def test_a_study_whose_marks_were_lost_finds_its_runs_and_doubles_nothing(
    study: Written, mlflow_store: str
) -> None:
    before = send_as_before(study, mlflow_store, marked=False)
    assert sync_study(study.study, mlflow_store) == (3, 0)
    assert_renewed(mlflow_store, study, before)


def test_a_run_that_was_lost_since_is_sent_as_runs_are_today(
    study: Written, mlflow_store: str
) -> None:
    before = send_as_before(study, mlflow_store)
    MlflowClient(mlflow_store).delete_run(before["search-0001"].info.run_id)
    assert sync_study(study.study, mlflow_store) == (3, 1)
    run = runs(mlflow_store, study)["search-0001"]
    assert run.info.run_id != before["search-0001"].info.run_id
    assert (run.data.params["ln_lr"], run.data.tags["ended"]) == ("0.08405", "stopped")
    assert history(mlflow_store, run)[-1] == (EPOCHS, 0.85417)


def test_a_description_that_somebody_wrote_stays(study: Written, mlflow_store: str) -> None:
    before = send_as_before(study, mlflow_store)
    client = MlflowClient(mlflow_store)
    client.set_tag(before["search-0001"].info.run_id, "mlflow.note.content", "mine")
    assert sync_study(study.study, mlflow_store) == (3, 0)
    tags = runs(mlflow_store, study)["search-0001"].data.tags
    assert (tags["mlflow.note.content"], tags["ended"]) == ("mine", "stopped")


def test_a_trial_that_was_trained_again_is_not_renewed_but_sent_anew(
    study: Written, mlflow_store: str
) -> None:
    before = send_as_before(study, mlflow_store)
    trial = study.folder.trial("search-0001")
    trial.reopen()
    trial.append_report({"epoch": 1, "train_loss": 0.5, "val_score": 0.25, "seconds": 1.0})
    trial.write_end(End("stopped", 1, 1.0))
    sync_study(study.study, mlflow_store)
    run = runs(mlflow_store, study)["search-0001"]
    assert run.info.run_id != before["search-0001"].info.run_id
    assert history(mlflow_store, run) == [(1, 0.25)]
