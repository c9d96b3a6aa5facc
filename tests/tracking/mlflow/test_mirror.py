"""MLflow mirrors the ledger: against a real server, which may die, come back, and lose runs."""

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.errors import TrackingError
from study.run import main
from study.tracking.mlflow import mirror as mirror_module
from study.tracking.mlflow import sender as sender_module
from study.tracking.mlflow import server
from study.tracking.mlflow.address import tracking_uri
from study.tracking.mlflow.mirror import find_missing, list_runs, sync_to_mlflow
from study.tracking.mlflow.sender import Sender
from study.tracking.mlflow.server import viewing_hints
from study.trial import TrialConfig
from tests.written_study import (
    EPOCHS,
    MakeStudy,
    Written,
    artifacts,
    assert_whole,
    history,
    runs,
    started,
    sync,
)

SECRET = "s3cr3t-passw0rd"
TRIALS = ["search-0000", "search-0001"]


def wait_until(true: Callable[[], bool], within: float = 120.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_running_study_is_seen_as_it_goes_and_leaves_nothing_running(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("live")
    tracker = started(study, mlflow_server)
    config = study.trial(0)
    tracker.trial_started(config)
    tracker.trial_reported(config, 1, study.report(config, 1))
    wait_until(lambda: "search-0000" in runs(mlflow_server, study))
    wait_until(lambda: len(history(mlflow_server, runs(mlflow_server, study)["search-0000"])) == 1)
    assert runs(mlflow_server, study)["search-0000"].info.status == "RUNNING"
    for epoch in (2, 3):
        tracker.trial_reported(config, epoch, study.report(config, epoch))
    tracker.trial_ended(config, study.end(config), 0.03)
    assert tracker.close(finished=True) == {}
    assert {run.info.status for run in runs(mlflow_server, study).values()} == {"FINISHED"}
    assert len(history(mlflow_server, runs(mlflow_server, study)["search-0000"])) == EPOCHS


def test_an_interrupted_study_is_killed_and_goes_on_in_the_same_runs(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("interrupted")
    first = started(study, mlflow_server)
    config = study.trial(0)
    first.trial_reported(config, 1, study.report(config, 1))
    assert first.close(finished=False) == {}
    before = runs(mlflow_server, study)
    assert {run.info.status for run in before.values()} == {"KILLED"}

    second = started(study, mlflow_server)
    wait_until(lambda: runs(mlflow_server, study)["search-0000"].info.status == "RUNNING")
    for epoch in (2, 3):
        study.report(config, epoch)
    second.trial_ended(config, study.end(config), 0.03)
    assert second.close(finished=True) == {}
    after = runs(mlflow_server, study)
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    assert after["search-0000"].info.run_id == before["search-0000"].info.run_id
    assert len(history(mlflow_server, after["search-0000"])) == EPOCHS


class Gate:
    """Passes connections on to a server until it is shut, and again once it is opened."""

    def __init__(self, target: str) -> None:
        self._target = (urlsplit(target).hostname, urlsplit(target).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, socket.create_connection(self._target) as server:
            while self.is_open:
                for ready in select.select([connection, server], [], [], 0.1)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (server if ready is connection else connection).sendall(data)


@pytest.fixture
def gate(mlflow_server: str) -> Iterator[Gate]:
    gate = Gate(mlflow_server)
    yield gate
    gate.close()


def test_a_server_that_dies_costs_the_study_nothing_but_a_bounded_wait(
    mlflow_server: str, make: MakeStudy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 2.0)
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.2)
    study = make("dead")
    tracker = started(study, gate.uri)
    gate.is_open = False
    sending: set[threading.Thread] = set()
    real = tracker._sender.send_trial

    def send_trial(trial_id: str) -> None:
        sending.add(threading.current_thread())
        real(trial_id)

    monkeypatch.setattr(tracker._sender, "send_trial", send_trial)
    for number in range(3):
        config = study.trial(number)
        tracker.trial_started(config)
        for epoch in range(1, EPOCHS + 1):
            tracker.trial_reported(config, epoch, study.report(config, epoch))
        tracker.trial_ended(config, study.end(config), 0.1)
    assert len(tracker.close(finished=True)) == 3
    assert sending, "nothing was tried"
    assert threading.current_thread() not in sending, "trials waited for the server"

    assert sync(study, mlflow_server) == 3
    found = runs(mlflow_server, study)
    found.pop("")
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert all(len(history(mlflow_server, run)) == EPOCHS for run in found.values())


def test_a_server_that_is_behind_but_takes_results_is_waited_for(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wait ends as one more trial is sent, as if it took nearly all of `FINAL_SECONDS`."""
    study = make("behind")
    tracker = started(study, mlflow_store)
    mirror = tracker._mirror

    def until_one_more(timeout: float | None = None) -> None:
        before = mirror._settled
        wait_until(lambda: mirror._settled > before or not mirror._thread.is_alive())

    monkeypatch.setattr(mirror._thread, "join", until_one_more)
    for number in range(6):
        study.whole(number)
        written = study.folder.trial(f"search-{number:04d}").read_config()
        tracker.trial_started(TrialConfig.model_validate(written))
    assert tracker.close(finished=True) == {}
    assert {run.info.status for run in runs(mlflow_store, study).values()} == {"FINISHED"}


def test_what_a_server_missed_is_sent_when_it_is_back(
    mlflow_server: str, make: MakeStudy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.2)
    study = make("back")
    tracker = started(study, gate.uri)
    gate.is_open = False
    study.whole(0)
    tracker.trial_started(
        TrialConfig.model_validate(study.folder.trial("search-0000").read_config())
    )
    wait_until(lambda: tracker._mirror._failing)
    gate.is_open = True
    assert tracker.close(finished=True) == {}
    assert {run.info.status for run in runs(mlflow_server, study).values()} == {"FINISHED"}


def test_no_secret_reaches_a_run_or_a_file(
    mlflow_server: str,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = mlflow_server.removeprefix("http://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@{address}")
    study = make("secret")
    study.whole(0)
    study.whole(1, "failed", 1, error="boom")
    uri = tracking_uri(study.config.tracking.uri)
    assert SECRET in uri
    tracker = started(study, uri)
    assert tracker.close(finished=True) == {}
    assert SECRET not in str(viewing_hints(uri, "7", "a1", "trials"))
    assert SECRET not in caplog.text
    for run in runs(mlflow_server, study).values():
        assert SECRET not in str(run.to_dictionary())
    written = [*tmp_path.rglob("*"), *_server_files(mlflow_server, study, tmp_path / "down")]
    for path in written:
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def _server_files(uri: str, study: Written, folder: Path) -> list[Path]:
    folder.mkdir()
    for run in runs(uri, study).values():
        for name in artifacts(uri, run):
            MlflowClient(uri).download_artifacts(run.info.run_id, name, str(folder))
    return list(folder.rglob("*"))


def test_runs_that_mlflow_has_lost_are_sent_again_and_counted(
    mlflow_server: str,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = make("restored")
    for number in range(3):
        study.whole(number)
    study.conclude()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    arguments = ["sync", "restored", f"storage={study.folder.path.parent}"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "3 trials of restored are in MLflow\n"
    before = runs(mlflow_server, study)
    for trial in ("search-0000", "search-0002"):
        MlflowClient(mlflow_server).delete_run(before[trial].info.run_id)
    assert main(arguments) == 0
    assert capsys.readouterr().out == "3 trials of restored are in MLflow, 2 of them sent again\n"
    assert_whole(mlflow_server, study, 3)
    assert main(arguments) == 0
    assert capsys.readouterr().out == "3 trials of restored are in MLflow\n"
    after = runs(mlflow_server, study)
    assert after["search-0001"].info.run_id == before["search-0001"].info.run_id


def test_trials_follow_to_another_run_of_the_study_where_its_own_is_lost(
    mlflow_server: str, make: MakeStudy
) -> None:
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


def lose_artifact(client: MlflowClient, run: Run) -> None:
    folder = run.info.artifact_uri.removeprefix("file://")
    (Path(folder) / "delta.safetensors").unlink()


@pytest.mark.parametrize(
    ("lose", "lack"),
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
def test_what_a_run_lacks_is_named_and_the_others_are_whole(
    sent: tuple[Written, Sender],
    mlflow_store: str,
    lose: Callable[[MlflowClient, Run], object],
    lack: str,
) -> None:
    study, sender = sent
    lose(MlflowClient(mlflow_store), runs(mlflow_store, study)["search-0000"])
    found = find_missing(sender, list_runs(sender), TRIALS)
    assert found == {"search-0000": lack, "search-0001": ""}


def test_a_score_of_predictions_that_a_run_lacks_is_named_and_sent(
    finish: Callable[..., Any], tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = finish(tmp_path, tmp_path.name)
    sender = Sender(study.study, mlflow_store)
    trial = "confirm-best-seed1"
    with monkeypatch.context() as without_score:
        without_score.setattr(
            sender_module, "add_balanced_score", lambda study, record: record.reports
        )
        sender.send_trial(trial)
    found = find_missing(sender, list_runs(sender), [trial])
    assert found == {trial: "its run lacks metrics"}
    sync_to_mlflow(study.study, mlflow_store)
    assert find_missing(sender, list_runs(sender), [trial]) == {trial: ""}
    run_id = json.loads((study.folder.trial(trial).path / "mlflow.json").read_text())["run_id"]
    scores = MlflowClient(mlflow_store).get_run(run_id).data.metrics
    assert scores["test_balanced"] == pytest.approx(0.75556)

    predictions = study.folder.trial(trial).path / "predictions.parquet"
    predictions.write_bytes(b"damaged")
    assert find_missing(sender, list_runs(sender), [trial]) == {trial: ""}


def test_what_was_not_sent_or_has_changed_since_is_left_out(
    sent: tuple[Written, Sender],
) -> None:
    study, sender = sent
    study.whole(2)
    study.folder.trial("search-0001").reopen()
    found = find_missing(sender, list_runs(sender), [*TRIALS, "search-0002"])
    assert found.keys() == {"search-0000"}


def test_runs_beyond_the_first_page_are_listed(
    sent: tuple[Written, Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sender = sent
    monkeypatch.setattr(server, "PAGE", 1)
    assert len(list_runs(sender)) == len(TRIALS) + 1


def test_a_server_that_does_not_give_the_runs_is_told(
    sent: tuple[Written, Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sender = sent

    def cut_off(*_: object, **__: object) -> None:
        raise ConnectionError("the connection was cut")

    monkeypatch.setattr(MlflowClient, "search_runs", cut_off)
    with pytest.raises(TrackingError, match=r"does not give the runs .*the connection was cut"):
        list_runs(sender)
