"""MLflow mirrors the ledger as a study goes, and what it has lost is found and sent again.

What a server that is at fault costs is in `tests/faults/test_tracking_server.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.errors import TrackingError
from study.tracking.mlflow import sender as sender_module
from study.tracking.mlflow import server
from study.tracking.mlflow.address import tracking_uri
from study.tracking.mlflow.mirror import find_missing, list_runs, sync_to_mlflow
from study.tracking.mlflow.sender import Sender
from study.tracking.mlflow.server import viewing_hints
from tests.faults.proxy import wait_until
from tests.written_study import (
    EPOCHS,
    MakeStudy,
    Written,
    artifacts,
    assert_whole,
    history,
    runs,
    started,
)

SECRET = "s3cr3t-passw0rd"
TRIALS = ["search-0000", "search-0001"]


def statuses(uri: str, study: Written) -> set[str]:
    return {run.info.status for run in runs(uri, study).values()}


def test_a_study_is_seen_as_it_goes_and_goes_on_in_the_same_runs_after_an_interruption(
    mlflow_server: str, make: MakeStudy
):
    study = make("interrupted")
    first = started(study, mlflow_server)
    config = study.trial(0)
    first.trial_started(config)
    first.trial_reported(config, 1, study.report(config, 1))
    wait_until(lambda: "search-0000" in runs(mlflow_server, study))
    before = runs(mlflow_server, study)["search-0000"]
    assert before.data.tags["mlflow.note.content"] == "`vision.ln[0:2]`, ln lr 0.01, λ 0"
    wait_until(lambda: len(history(mlflow_server, before)) == 1)
    assert statuses(mlflow_server, study) == {"RUNNING"}
    assert first.close(finished=False) == {}
    assert statuses(mlflow_server, study) == {"KILLED"}

    second = started(study, mlflow_server)
    wait_until(lambda: statuses(mlflow_server, study) == {"RUNNING"})
    for epoch in (2, 3):
        second.trial_reported(config, epoch, study.report(config, epoch))
    second.trial_ended(config, study.end(config), 0.03)
    assert second.close(finished=True) == {}
    assert statuses(mlflow_server, study) == {"FINISHED"}
    after = runs(mlflow_server, study)["search-0000"]
    assert after.info.run_id == before.info.run_id
    assert after.data.tags["mlflow.note.content"].startswith("3.0 % on validation, `vision.ln")
    assert len(history(mlflow_server, after)) == EPOCHS


def test_a_server_that_is_behind_but_takes_results_is_waited_for(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
    """Each wait ends as one more trial is sent, as if it took nearly all of `FINAL_SECONDS`."""
    study = make("behind")
    tracker = started(study, mlflow_store)
    mirror = tracker._mirror

    def until_one_more(timeout: float | None = None):
        before = mirror._settled
        wait_until(lambda: mirror._settled > before or not mirror._thread.is_alive())

    monkeypatch.setattr(mirror._thread, "join", until_one_more)
    for number in range(6):
        tracker.trial_started(study.whole(number))
    assert tracker.close(finished=True) == {}
    assert statuses(mlflow_store, study) == {"FINISHED"}


def test_no_secret_reaches_a_run_or_a_file(
    mlflow_server: str,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    address = mlflow_server.removeprefix("http://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@{address}")
    study = make("secret")
    study.whole(0)
    study.whole(1, "failed", 1, error="boom")
    uri = tracking_uri(study.config.tracking.uri)
    assert SECRET in uri
    assert started(study, uri).close(finished=True) == {}
    assert SECRET not in str(viewing_hints(uri, "7", "a1", "trials"))
    assert SECRET not in caplog.text
    (tmp_path / "down").mkdir()
    for run in runs(mlflow_server, study).values():
        assert SECRET not in str(run.to_dictionary())
        for name in artifacts(mlflow_server, run):
            MlflowClient(mlflow_server).download_artifacts(
                run.info.run_id, name, str(tmp_path / "down")
            )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_trials_follow_to_another_run_of_the_study_where_its_own_is_lost(
    mlflow_server: str, make: MakeStudy
):
    study = make("orphaned")
    study.whole(0)
    study.conclude()
    sync_to_mlflow(study.study, mlflow_server)
    before = runs(mlflow_server, study)
    MlflowClient(mlflow_server).delete_run(before[""].info.run_id)
    sync_to_mlflow(study.study, mlflow_server)
    assert_whole(mlflow_server, study, 1)
    after = runs(mlflow_server, study)
    assert after["search-0000"].info.run_id == before["search-0000"].info.run_id


@pytest.fixture
def sent(make: MakeStudy, mlflow_store: str, tmp_path: Path) -> tuple[Written, Sender]:
    """Two trials that a store has, and who sent them."""
    study = make(tmp_path.name)
    study.whole(0)
    study.whole(1, "stopped", 2)
    sender = Sender(study.study, mlflow_store)
    for trial in TRIALS:
        sender.send_trial(trial)
    return study, sender


def lose_artifact(client: MlflowClient, run: Run):
    folder = run.info.artifact_uri.removeprefix("file://")
    (Path(folder) / "delta.safetensors").unlink()


@pytest.mark.parametrize(
    "lose, lack",
    [
        (lambda client, run: None, ""),
        (lambda client, run: client.delete_run(run.info.run_id), "its run is not there"),
        (
            lambda client, run: client.update_run(run.info.run_id, status="RUNNING"),
            "its run is RUNNING, not FINISHED",
        ),
        (lambda client, run: client.delete_tag(run.info.run_id, "label"), "its run lacks tags"),
        (lose_artifact, "its run lacks delta.safetensors"),
    ],
    ids=["nothing", "run", "status", "tag", "artifact"],
)
def test_what_a_run_lacks_is_named_and_sent_again_and_the_others_are_whole(
    sent: tuple[Written, Sender],
    mlflow_store: str,
    lose: Callable[[MlflowClient, Run], object],
    lack: str,
):
    study, sender = sent
    lose(MlflowClient(mlflow_store), runs(mlflow_store, study)["search-0000"])
    missing = find_missing(sender, list_runs(sender), TRIALS)
    assert missing == {"search-0000": lack, "search-0001": ""}
    assert sync_to_mlflow(study.study, mlflow_store) == (2, bool(lack))
    assert find_missing(sender, list_runs(sender), TRIALS) == dict.fromkeys(TRIALS, "")


def test_a_score_of_predictions_that_a_run_lacks_is_named_and_sent(
    finish: Any, tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
):
    study = finish(tmp_path, tmp_path.name)
    sender = Sender(study.study, mlflow_store)
    trial = "test-best-seed1"
    with monkeypatch.context() as without_score:
        without_score.setattr(
            sender_module, "add_balanced_score", lambda study, record: record.reports
        )
        sender.send_trial(trial)
    assert find_missing(sender, list_runs(sender), [trial]) == {trial: "its run lacks metrics"}
    sync_to_mlflow(study.study, mlflow_store)
    assert find_missing(sender, list_runs(sender), [trial]) == {trial: ""}
    folder = study.folder.trial(trial).path
    run_id = json.loads((folder / "mlflow.json").read_text())["run_id"]
    scores = MlflowClient(mlflow_store).get_run(run_id).data.metrics
    assert scores["test_balanced"] == pytest.approx(0.75556)

    (folder / "predictions.parquet").write_bytes(b"damaged")
    assert find_missing(sender, list_runs(sender), [trial]) == {trial: ""}


def test_what_was_not_sent_or_has_changed_since_is_left_out(
    sent: tuple[Written, Sender],
):
    study, sender = sent
    study.whole(2)
    study.folder.trial("search-0001").reopen()
    missing = find_missing(sender, list_runs(sender), [*TRIALS, "search-0002"])
    assert missing.keys() == {"search-0000"}


def test_runs_beyond_the_first_page_are_listed_and_a_server_that_gives_none_is_told(
    sent: tuple[Written, Sender], monkeypatch: pytest.MonkeyPatch
):
    _, sender = sent
    monkeypatch.setattr(server, "PAGE", 1)
    assert len(list_runs(sender)) == len(TRIALS) + 1

    def cut_off(*_: object, **__: object):
        raise ConnectionError("the connection was cut")

    monkeypatch.setattr(MlflowClient, "search_runs", cut_off)
    with pytest.raises(TrackingError, match=r"does not give the runs .*the connection was cut"):
        list_runs(sender)
