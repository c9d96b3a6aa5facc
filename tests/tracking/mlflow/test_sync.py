"""What MLflow has of a study as it goes, after faults, and once it is sent again.

All is read back from a real store or server. What a server at fault costs is in
`tests/faults/test_tracking_server.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.config.trial_settings import TrialSettings
from study.storage.trial_folder import TrialFolder
from study.tracking.mlflow import study_run
from study.tracking.mlflow.sync import StudySync
from study.trial.study import Candidate
from tests.faults.proxy import wait_until
from tests.study_writer import EPOCHS, MakeStudy, StudyWriter
from tests.tracking.mlflow.records import artifacts, assert_whole, history, runs, started, sync

TESTED = "test-0f0f0f0f0f0f-seed1"


def test_each_trial_is_a_child_that_ends_as_the_trial_did(mlflow_server: str, make: MakeStudy):
    study = make("ends")
    study.whole(0)
    study.whole(1, "stopped", 2, reason="successive halving at epoch 2")
    study.whole(2, "failed", 1, error="Traceback\nValueError: boom")
    sync(study, mlflow_server)
    sent = runs(mlflow_server, study)
    parent = sent.pop("")
    ends = [(run.info.status, run.data.tags["ended"]) for _, run in sorted(sent.items())]
    # A killed run looks like one that failed.
    assert ends == [("FINISHED", "finished"), ("FINISHED", "stopped"), ("FAILED", "failed")]
    for number, run in enumerate(sent[f"search-{number:04d}"] for number in range(3)):
        tags = {"mlflow.parentRunId": parent.info.run_id, "stage": "search", "study": "ends"}
        assert run.data.tags.items() >= tags.items()
        assert run.data.params == {
            **{"subset": "vision.ln[0:2]", "ln_lr": str(0.01 + number), "distill_weight": "0.0"},
            **{"head": "text", "alpha": "1.0", "seed": "1", "dataset": "digits"},
            **{"protocol": "few_shot", "backbone": "embedded", "shots": "16"},
        }
        seconds = (1.5, 1.0, 0.5)[number]
        assert run.data.metrics.items() >= {"trainable": 1536, "seconds": seconds}.items()
        reports = study.folder.trial(f"search-{number:04d}").read_reports()
        assert history(mlflow_server, run) == [(r["epoch"], r["val_score"]) for r in reports]
        assert {"config.json", "delta.safetensors"} <= artifacts(mlflow_server, run) or number == 2
    assert sent["search-0001"].data.tags["stop_reason"] == "successive halving at epoch 2"
    assert "boom" in sent["search-0002"].data.tags["error"]


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


@pytest.mark.parametrize(
    "noted, uri",
    [("kept", "mlflow_server"), ("lost", "mlflow_store"), ("damaged", "mlflow_server")],
)
def test_sending_twice_doubles_nothing(
    noted: str, uri: str, make: MakeStudy, request: pytest.FixtureRequest
):
    uri, study = request.getfixturevalue(uri), make(f"twice-{noted}")
    study.whole(0)
    study.whole(1, "stopped", 2)

    def sent() -> list[Any]:
        sync(study, uri)
        keys = ("val_score", "train_loss", "seconds", "epochs", "trainable")
        found = runs(uri, study).values()
        return [(run.info, [history(uri, run, key) for key in keys]) for run in found]

    before = sent()
    for note in study.folder.path.glob("trials/*/mlflow.json"):
        if noted == "lost":  # a driver died after sending and before it could write that down
            note.unlink()
        elif noted == "damaged":
            note.write_text('{"of_a_later_version": 1}')
    assert sent() == before


def test_a_test_has_the_label_of_its_candidate_and_the_best_are_marked(
    mlflow_store: str, make: MakeStudy
):
    study = make("starred")
    for number in range(2):
        study.whole(number)
    study.end(study.trial(2, trial_id=TESTED, stage="test", label="0f0f0f0f0f0f"))

    def choose(trial_id: str, label: str) -> list[str]:
        """Choose a trial, whose configuration is not that of the test; return all runs' names."""
        best = Candidate(
            settings=TrialSettings(subset="ln"),
            label="best",
            source_trial=trial_id,
            training="f0f0f0f0f0f0",
            search_trials=9,
        )
        tested = best.model_copy(update={"training": "0f0f0f0f0f0f", "label": label})
        study.choose(tested, best)
        sync(study, mlflow_store)
        sent = runs(mlflow_store, study)
        assert sent[TESTED].data.tags["label"] == label
        return [sent[trial].info.run_name for trial in ("search-0000", "search-0001", TESTED)]

    names = ["★ vision.ln[0:2] @ 0.01", "vision.ln[0:2] @ 1", "clipfit · seed 1"]
    assert choose("search-0000", "clipfit") == names
    # The search went on and found a better one.
    names = ["vision.ln[0:2] @ 0.01", "★ vision.ln[0:2] @ 1", "★ best · seed 1"]
    assert choose("search-0001", "best") == names


@pytest.mark.parametrize("noted, ended", [(True, False), (False, True)])
def test_a_later_training_adds_no_second_point_to_what_was_sent_without_a_note(
    mlflow_store: str, make: MakeStudy, noted: bool, ended: bool
):
    study = make(f"unnoted-{noted}-{ended}")
    config = study.trial(0)
    trial = study.folder.trial("search-0000")
    sync(study, mlflow_store)
    note = trial.path / "mlflow.json"
    before = note.read_bytes()
    for epoch in (1, 2):
        study.report(config, epoch, seconds=0.7)
    if ended:
        study.end(config, "finished")
    StudySync(study.study, mlflow_store).send("search-0000")
    note.unlink()
    if noted:  # the driver died before it wrote the present one
        note.write_bytes(before)
    trial.reopen()
    of_study = StudySync(study.study, mlflow_store)
    for epoch in (1, 2):
        study.report(config, epoch, seconds=0.3)
        of_study.send("search-0000")
        assert runs(mlflow_store, study)["search-0000"].info.status == "RUNNING"
    study.end(config)
    of_study.send("search-0000")
    run = runs(mlflow_store, study)["search-0000"]
    assert [step for step, _ in history(mlflow_store, run)] == [1, 2]
    assert run.info.status == "FINISHED"


def statuses(uri: str, study: StudyWriter) -> set[str]:
    return {run.info.status for run in runs(uri, study).values()}


def test_a_study_is_seen_as_it_goes_and_goes_on_in_the_same_runs_after_an_interruption(
    mlflow_server: str, make: MakeStudy
):
    study = make("interrupted")
    first = started(study, mlflow_server)
    config = study.trial(0)
    first.trial_changed(config.trial_id)
    study.report(config, 1)
    first.trial_changed(config.trial_id)
    wait_until(lambda: "search-0000" in runs(mlflow_server, study))
    before = runs(mlflow_server, study)["search-0000"]
    wait_until(lambda: len(history(mlflow_server, before)) == 1)
    assert statuses(mlflow_server, study) == {"RUNNING"}
    assert first.close(finished=False).missing == ""
    assert statuses(mlflow_server, study) == {"KILLED"}

    second = started(study, mlflow_server)
    wait_until(lambda: statuses(mlflow_server, study) == {"RUNNING"})
    for epoch in (2, 3):
        study.report(config, epoch)
        second.trial_changed(config.trial_id)
    study.end(config)
    second.trial_changed(config.trial_id)
    assert second.close(finished=True).missing == ""
    assert statuses(mlflow_server, study) == {"FINISHED"}
    after = runs(mlflow_server, study)["search-0000"]
    assert after.info.run_id == before.info.run_id
    assert len(history(mlflow_server, after)) == EPOCHS


def test_trials_follow_to_another_run_of_the_study_where_its_own_is_lost(
    mlflow_server: str, make: MakeStudy
):
    study = make("orphaned")
    study.whole(0)
    study.conclude()
    sync(study, mlflow_server)
    before = runs(mlflow_server, study)
    MlflowClient(mlflow_server).delete_run(before[""].info.run_id)
    sync(study, mlflow_server)
    assert_whole(mlflow_server, study)
    after = runs(mlflow_server, study)
    assert after["search-0000"].info.run_id == before["search-0000"].info.run_id


def lose_artifact(client: MlflowClient, run: Run):
    (Path(run.info.artifact_uri.removeprefix("file://")) / "delta.safetensors").unlink()


@pytest.mark.parametrize(
    "lose",
    [
        lambda client, run: client.delete_run(run.info.run_id),
        lambda client, run: client.update_run(run.info.run_id, status="RUNNING"),
        lambda client, run: client.delete_tag(run.info.run_id, "label"),
        lose_artifact,
    ],
    ids=["run", "status", "tag", "artifact"],
)
def test_what_mlflow_has_lost_is_named_and_sent_again(
    lose: Callable[[MlflowClient, Run], object],
    mlflow_store: str,
    make: MakeStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(study_run, "PAGE", 1)  # what is beyond the first page is listed as well
    study = make(tmp_path.name)
    for number in range(2):
        study.whole(number)
    study.conclude()
    sync(study, mlflow_store)
    assert caplog.text == ""
    lose(MlflowClient(mlflow_store), runs(mlflow_store, study)["search-0000"])
    sync(study, mlflow_store)
    assert "results of search-0000;" in caplog.text
    assert_whole(mlflow_store, study)
