"""MLflow mirrors the ledger: against a real server, which may die and come back."""

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
from written_study import EPOCHS, Written, history, runs

from study.errors import TrackingError
from study.storage.ledger import TrialFolder
from study.tracking.mlflow import mirror as mirror_module
from study.tracking.mlflow.mirror import Mirror, sync_study
from study.tracking.mlflow.runs import RunWriter
from study.tracking.mlflow.server import browse_command, connect
from study.tracking.mlflow.store import tracking_uri
from study.trial import TrialConfig

SECRET = "s3cr3t-passw0rd"
MakeStudy = Callable[[str], Written]


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    return lambda name: Written(tmp_path, name)


def sync(study: Written, uri: str) -> int:
    """Send what is unsent, of a study that has no report to write anew."""
    return sync_study(study.config, study.folder, uri, lambda: None).trials


def artifacts(uri: str, run: Run, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for item in MlflowClient(uri).list_artifacts(run.info.run_id, path):
        found |= artifacts(uri, run, item.path) if item.is_dir else {item.path}
    return found


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
    statuses = {trial: run.info.status for trial, run in found.items()}
    assert statuses == {
        "search-0000": "FINISHED",
        "search-0001": "KILLED",
        "search-0002": "FAILED",
    }
    for number, run in enumerate(found[f"search-{n:04d}"] for n in range(3)):
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags.items() >= {"stage": "search", "study": "ends", "split_hash": "f" * 16}.items()
        expected = {
            "subset": "vision.ln[0:2]",
            "ln_lr": str(0.01 + number),
            "distill_weight": "0.0",
            "seed": "1",
            "dataset": "digits",
            "protocol": "few_shot",
            "backbone": "embedded",
            "shots": "16",
        }
        assert params == expected
        assert run.data.metrics["trainable"] == 1536
        assert run.data.metrics["seconds"] == 1.5
        reports = study.folder.trial(f"search-{number:04d}").reports
        assert history(mlflow_server, run) == [(r["epoch"], r["val_score"]) for r in reports]
    assert found["search-0001"].data.tags["stop_reason"] == "successive halving at epoch 2"
    assert "boom" in found["search-0002"].data.tags["error"]
    assert artifacts(mlflow_server, found["search-0000"]) >= {"config.json", "delta.safetensors"}
    assert "delta.safetensors" in artifacts(mlflow_server, found["search-0001"])


def test_a_trial_has_no_more_than_pages_and_searches_use(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("lean")
    config = study.trial(0, config_hash="a" * 16)
    for epoch in range(1, EPOCHS + 1):
        # What `run_trial` reports.
        losses = {"train_loss": 2.0, "cross_entropy": 1.5, "distillation": 0.5}
        rates = {"bias_lr": 0.1, "ln_lr": 0.1, "images_per_second": 900.0}
        scores = {"val_base": 0.5, "val_new": 0.5, "val_hmean": 0.5, "val_score": 0.5}
        report = {"epoch": epoch, **losses, **rates, **scores, "seconds": 0.5}
        study.folder.trial(config.trial_id).append_report(report)
    study.end(config)
    sync(study, mlflow_store)
    run = runs(mlflow_store, study)["search-0000"]
    per_epoch = {*losses, "images_per_second", "val_base", "val_new", "val_score"}
    assert run.data.metrics.keys() == {*per_epoch, "trainable", "epochs", "seconds"}
    assert run.data.tags.keys() == {
        *("mlflow.parentRunId", "mlflow.runName", "study", "study_id", "trial_id"),
        *("stage", "arm", "label", "split_hash", "config_hash", "stop_reason"),
    }


def test_the_parent_has_configuration_tables_and_description(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("parent")
    study.folder.write_json("candidates.json", [])
    (study.folder.path / "leaderboard.md").write_text("# best")
    study.conclude()
    (study.folder.path / "plots").mkdir()
    (study.folder.path / "plots" / "one.png").write_bytes(b"png")
    sync(study, mlflow_server)
    parent = runs(mlflow_server, study)[""]
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "parent"
    assert parent.data.params["search.trials"] == "48"
    assert parent.data.params["training.momentum"] == "0.9"
    assert parent.data.tags["mlflow.note.content"] == "the **best** is here"
    expected = {"dataset": "digits", "backbone": "embedded", "git_commit": "abc123"}
    assert parent.data.tags.items() >= expected.items()
    assert artifacts(mlflow_server, parent) >= {
        *("study.yaml", "identity.json", "candidates.json", "leaderboard.md", "plots/one.png"),
    }


def test_the_runs_that_validation_chose_say_so_in_their_names(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("starred")
    for number in range(2):
        study.whole(number)
    confirmation = {"stage": "confirm", "label": "best", "arm": "best"}
    study.end(study.trial(2, trial_id="confirm-best-seed1", **confirmation))

    def choose(trial_id: str, same_as: str | None = None) -> dict[str, str]:
        best = {"label": "best", "source_trial": trial_id, "same_as": same_as}
        study.folder.write_json("candidates.json", [best])
        sync(study, mlflow_store)
        return {trial: run.info.run_name for trial, run in runs(mlflow_store, study).items()}

    confirmed = {"confirm-best-seed1": "best ★ · seed 1", "": "starred"}
    first = choose("search-0000")
    assert first == {"search-0000": "trial 0 ★", "search-0001": "trial 1", **confirmed}
    # The search went on and found a better one, which a baseline is equal to.
    confirmed["confirm-best-seed1"] = "best · seed 1"
    second = choose("search-0001", same_as="clipfit")
    assert second == {"search-0000": "trial 0", "search-0001": "trial 1 ★", **confirmed}


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
    assert {t: run.info.run_id for t, run in after.items()} == {
        t: run.info.run_id for t, run in before.items()
    }
    assert {t: run.info.status for t, run in after.items()} == {
        t: run.info.status for t, run in before.items()
    }
    for key in ("val_score", "train_loss", "seconds", "trainable"):
        for trial in ("search-0000", "search-0001"):
            assert history(mlflow_server, after[trial], key) == history(
                mlflow_server, before[trial], key
            )
    assert len(history(mlflow_server, after["search-0000"])) == EPOCHS


def test_two_studies_of_one_name_are_two_runs(mlflow_server: str, tmp_path: Path) -> None:
    first, second = (Written(tmp_path / place, "namesake") for place in ("a", "b"))
    first.whole(0)
    for study in (first, second):
        sync(study, mlflow_server)
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("namesake")
    found = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    assert len(found) == 2


def test_a_study_is_sent_whole_to_another_server(
    mlflow_server: str, make: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where a local store puts its artifacts
    study = make("moved")
    study.whole(0)
    sync(study, mlflow_server)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    sync(study, other)
    found = runs(other, study)
    assert found["search-0000"].info.status == "FINISHED"
    assert len(history(other, found["search-0000"])) == EPOCHS


def wait_until(true: Callable[[], bool], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_running_study_is_seen_as_it_goes_and_leaves_nothing_running(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("live")
    mirror = Mirror(study.config, study.folder, mlflow_server)
    mirror.start()
    config = study.trial(0)
    mirror.trial_started(config)
    mirror.trial_reported(config, 1, study.report(config, 1))
    wait_until(lambda: "search-0000" in runs(mlflow_server, study))
    wait_until(lambda: len(history(mlflow_server, runs(mlflow_server, study)["search-0000"])) == 1)
    assert runs(mlflow_server, study)["search-0000"].info.status == "RUNNING"
    for epoch in (2, 3):
        mirror.trial_reported(config, epoch, study.report(config, epoch))
    mirror.trial_ended(config, study.end(config), 0.03)
    assert mirror.close(finished=True) == {}
    assert {run.info.status for run in runs(mlflow_server, study).values()} == {"FINISHED"}
    assert len(history(mlflow_server, runs(mlflow_server, study)["search-0000"])) == EPOCHS


def test_an_interrupted_study_is_killed_and_goes_on_in_the_same_runs(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("interrupted")
    first = Mirror(study.config, study.folder, mlflow_server)
    first.start()
    config = study.trial(0)
    first.trial_reported(config, 1, study.report(config, 1))
    assert first.close(finished=False) == {}
    before = runs(mlflow_server, study)
    assert {run.info.status for run in before.values()} == {"KILLED"}

    second = Mirror(study.config, study.folder, mlflow_server)
    second.start()
    wait_until(lambda: runs(mlflow_server, study)["search-0000"].info.status == "RUNNING")
    for epoch in (2, 3):
        study.report(config, epoch)
    second.trial_ended(config, study.end(config), 0.03)
    assert second.close(finished=True) == {}
    after = runs(mlflow_server, study)
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    assert after["search-0000"].info.run_id == before["search-0000"].info.run_id
    assert len(history(mlflow_server, after["search-0000"])) == EPOCHS


def test_a_trial_that_was_damaged_and_is_trained_again_gets_another_run(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("damaged")
    study.whole(0)
    sync(study, mlflow_store)
    before = runs(mlflow_store, study)["search-0000"]
    assert before.info.status == "FINISHED"
    study.folder.trial("search-0000").reopen()
    writer = RunWriter(study.config, study.folder, mlflow_store)
    writer.open_study()
    writer.sync_trial("search-0000")
    assert runs(mlflow_store, study)["search-0000"].info.status == "RUNNING"
    study.whole(0, "failed", 1, error="Traceback\nValueError: boom")
    writer.sync_trial("search-0000")
    after = runs(mlflow_store, study)["search-0000"]
    assert after.info.run_id != before.info.run_id
    assert after.info.status == "FAILED"
    for key, value in {"epochs": 1, "seconds": 1.5, "val_score": 0.01}.items():
        assert [point for _, point in history(mlflow_store, after, key)] == [value]


def test_a_trial_that_was_trained_again_while_mlflow_was_away_has_its_later_results_alone(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("again-away")
    study.whole(0)
    sync(study, mlflow_store)
    study.folder.trial("search-0000").reopen()
    config = study.trial(0)
    study.report(config, 1, seconds=0.7)
    study.end(config, "stopped")
    sync(study, mlflow_store)
    run = runs(mlflow_store, study)["search-0000"]
    assert run.info.status == "KILLED"
    assert history(mlflow_store, run) == [(1, 0.01)]
    assert history(mlflow_store, run, "epochs") == [(0, 1)]


def test_an_unfinished_trial_that_begins_again_has_one_value_of_each_metric(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("begun-again")
    config = study.trial(0)
    for epoch in (1, 2):
        study.report(config, epoch)
    sync(study, mlflow_store)
    study.folder.trial(config.trial_id).replace_reports([])
    for epoch in (1, 2):
        study.folder.trial(config.trial_id).append_report(
            {"epoch": epoch, "train_loss": 1.0, "val_score": 0.5, "seconds": 0.9}
        )
    sync(study, mlflow_store)
    study.report(config, 3)
    study.end(config)
    sync(study, mlflow_store)
    run = runs(mlflow_store, study)["search-0000"]
    assert history(mlflow_store, run) == [(1, 0.5), (2, 0.5), (3, 0.03)]
    assert len(history(mlflow_store, run, "seconds")) == 1


def test_a_trial_that_ends_while_it_is_sent_loses_no_epoch(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("raced")
    config = study.trial(0)
    study.report(config, 1)
    read = TrialFolder.reports.fget

    def read_and_end(folder: TrialFolder) -> Any:
        monkeypatch.undo()
        reports = read(folder)
        for epoch in (2, 3):
            study.report(config, epoch)
        study.end(config)
        return reports

    monkeypatch.setattr(TrialFolder, "reports", property(read_and_end))
    for _ in range(2):
        sync(study, mlflow_store)
    assert len(history(mlflow_store, runs(mlflow_store, study)["search-0000"])) == EPOCHS


def test_a_new_trial_is_sent_without_looking_through_the_others(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("unsought")
    writer = RunWriter(study.config, study.folder, mlflow_store)
    writer.open_study()
    study.whole(0)
    monkeypatch.setattr(MlflowClient, "search_runs", unheard)
    writer.sync_trial("search-0000")
    monkeypatch.undo()
    assert runs(mlflow_store, study)["search-0000"].info.status == "FINISHED"


def test_a_run_is_found_again_where_its_creation_was_not_heard_of(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("unheard")
    writer = RunWriter(study.config, study.folder, mlflow_store)
    writer.open_study()
    study.whole(0)
    create = MlflowClient.create_run

    def create_and_be_cut_off(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        unheard()

    monkeypatch.setattr(MlflowClient, "create_run", create_and_be_cut_off)
    with pytest.raises(ConnectionError):
        writer.sync_trial("search-0000")
    monkeypatch.undo()
    writer.sync_trial("search-0000")
    assert runs(mlflow_store, study).keys() == {"", "search-0000"}


def unheard(*_: Any, **__: Any) -> None:
    """What a connection that is cut does."""
    raise ConnectionError("the connection was cut")


def test_epochs_that_a_damaged_state_cost_are_not_counted_twice(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("again")
    config = study.trial(0)
    for epoch in (1, 2):
        study.report(config, epoch)
    sync(study, mlflow_server)
    study.folder.trial(config.trial_id).keep_reports(0)
    study.report(config, 1, seconds=0.7)
    sync(study, mlflow_server)
    for epoch in (2, 3):
        study.report(config, epoch, seconds=0.7)
    study.end(config)
    sync(study, mlflow_server)
    points = history(mlflow_server, runs(mlflow_server, study)["search-0000"])
    assert [step for step, _ in points] == [1, 2, 3]


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


@pytest.mark.timeout(60)  # a wait without bounds would not end
def test_a_server_that_dies_costs_the_study_nothing_but_a_bounded_wait(
    mlflow_server: str, make: MakeStudy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 2.0)
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.2)
    study = make("dead")
    mirror = Mirror(study.config, study.folder, gate.uri)
    mirror.start()
    gate.is_open = False
    sending: set[threading.Thread] = set()
    real = mirror._writer.sync_trial

    def sync_trial(trial_id: str) -> None:
        sending.add(threading.current_thread())
        real(trial_id)

    monkeypatch.setattr(mirror._writer, "sync_trial", sync_trial)
    for number in range(3):
        config = study.trial(number)
        mirror.trial_started(config)
        for epoch in range(1, EPOCHS + 1):
            mirror.trial_reported(config, epoch, study.report(config, epoch))
        mirror.trial_ended(config, study.end(config), 0.1)
    assert len(mirror.close(finished=True)) == 3
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
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 1.0)
    sync_trial = RunWriter.sync_trial

    def slowly(writer: RunWriter, trial_id: str) -> None:
        time.sleep(0.4)
        sync_trial(writer, trial_id)

    monkeypatch.setattr(RunWriter, "sync_trial", slowly)
    study = make("behind")
    mirror = Mirror(study.config, study.folder, mlflow_store)
    mirror.start()
    for number in range(6):
        study.whole(number)
        written = study.folder.trial(f"search-{number:04d}").config
        mirror.trial_started(TrialConfig.model_validate(written))
    assert mirror.close(finished=True) == {}
    assert {run.info.status for run in runs(mlflow_store, study).values()} == {"FINISHED"}


def test_what_a_server_missed_is_sent_when_it_is_back(
    mlflow_server: str, make: MakeStudy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.2)
    study = make("back")
    mirror = Mirror(study.config, study.folder, gate.uri)
    mirror.start()
    gate.is_open = False
    study.whole(0)
    mirror.trial_started(TrialConfig.model_validate(study.folder.trial("search-0000").config))
    wait_until(lambda: mirror._failing)
    gate.is_open = True
    assert mirror.close(finished=True) == {}
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
    mirror = Mirror(study.config, study.folder, uri)
    mirror.start()
    assert mirror.close(finished=True) == {}
    assert SECRET not in browse_command(uri)
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


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{SECRET}@127.0.0.1:9",
        f"postgresql://me:{SECRET}@127.0.0.1:9/runs",
        f"postgresql://127.0.0.1:9/runs?user=me&password={SECRET}",
        "unknown://somewhere",
        "./mlruns",
    ],
)
def test_a_store_that_does_not_answer_is_told_without_its_password(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"does not answer .*MLFLOW_TRACKING_URI") as caught:
        connect(uri, "any")
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("just words, and enough of them to be no database" * 99)
    with pytest.raises(TrackingError, match="does not answer"):
        connect(f"sqlite:///{tmp_path / 'notes.db'}", "any")


def test_a_deleted_experiment_is_told(mlflow_server: str, make: MakeStudy) -> None:
    client = MlflowClient(mlflow_server)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(TrackingError, match=r"experiment 'gone' on .* was deleted; restore"):
        sync(make("gone"), mlflow_server)
