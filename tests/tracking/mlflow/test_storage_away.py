"""Storage that is away while results are sent: nothing is lost, and MLflow is not blamed for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.run import main
from study.storage import atomic
from study.tracking.mlflow import mirror as mirror_module
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.mlflow.sender import Sender
from study.trial import TrialConfig
from tests.written_study import EPOCHS, Written, history, runs, started


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setattr(atomic, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.2)
    storage = tmp_path / "runs"
    storage.mkdir()
    return Written(storage, tmp_path.name)


@contextmanager
def taken_away(study: Written) -> Iterator[None]:
    """Rename the folder that studies are in, and back."""
    storage = study.folder.path.parent
    away = storage.rename(storage.with_name("away"))
    try:
        yield
    finally:
        away.rename(storage)


def train(study: Written, tracker: MlflowTracker, *numbers: int) -> None:
    """Write trials, and tell the tracker of each."""
    for number in numbers:
        study.whole(number)
        config = study.folder.trial(f"search-{number:04d}").read_config()
        tracker.trial_started(TrialConfig.model_validate(config))


def assert_whole(uri: str, study: Written, trials: int) -> None:
    found = runs(uri, study)
    assert len(found) == trials + 1
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    del found[""]
    for run in found.values():
        assert [step for step, _ in history(uri, run)] == [*range(1, EPOCHS + 1)]
        assert {"config.json", "reports.jsonl", "delta.safetensors"} <= {
            artifact.path for artifact in MlflowClient(uri).list_artifacts(run.info.run_id)
        }


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_artifacts", "set_terminated"])
def test_a_trial_is_sent_whole_where_storage_goes_away_between_two_calls(
    study: Written, mlflow_store: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    tracker = started(study, mlflow_store)
    real = getattr(MlflowClient, call)
    comes_back: list[threading.Timer] = []

    def go_away_after(*arguments: object, **options: object) -> object:
        result = real(*arguments, **options)
        if not comes_back:
            storage = taken_away(study)
            storage.__enter__()
            timer = threading.Timer(0.5, storage.__exit__, (None, None, None))
            timer.start()
            comes_back.append(timer)
        return result

    monkeypatch.setattr(MlflowClient, call, go_away_after)
    study.whole(0)
    tracker.rescan_trials()
    while not comes_back:
        time.sleep(0.01)
    comes_back[0].join()
    assert tracker.close(finished=True) == {}
    assert_whole(mlflow_store, study, 1)


def test_the_tables_are_sent_where_storage_goes_away_as_a_study_closes(
    study: Written, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = started(study, mlflow_store)
    train(study, tracker, 0)
    study.conclude()
    (study.folder.path / "leaderboard.md").write_text("# best")
    close = Sender.close_study

    def close_while_away(sender: Sender, **options: Any) -> None:
        storage = taken_away(study)
        storage.__enter__()
        threading.Timer(0.5, storage.__exit__, (None, None, None)).start()
        close(sender, **options)

    monkeypatch.setattr(Sender, "close_study", close_while_away)
    assert tracker.close(finished=True) == {}
    assert_whole(mlflow_store, study, 1)
    parent = runs(mlflow_store, study)[""]
    assert parent.data.tags["mlflow.note.content"] == "the **best** is here"
    there = {a.path for a in MlflowClient(mlflow_store).list_artifacts(parent.info.run_id)}
    assert there == {"study.yaml", "identity.json", "leaderboard.md"}


def test_a_trial_that_ended_without_a_word_to_the_mirror_is_sent(
    study: Written, mlflow_store: str
) -> None:
    tracker = started(study, mlflow_store)
    time.sleep(0.5)
    study.whole(0)
    assert tracker.close(finished=True) == {}
    assert_whole(mlflow_store, study, 1)


def test_storage_that_stays_away_is_named_and_what_was_not_sent(
    study: Written,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.3)
    # Storage was waited for, and that is no reason to wait for MLflow as well, which would not end.
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 3600.0)
    tracker = started(study, mlflow_store)
    train(study, tracker, 0)
    wait_until_sent(study)
    configs = [study.trial(number) for number in range(1, 6)]
    with taken_away(study):
        for config in configs:
            tracker.trial_started(config)
        lacking = tracker.close(finished=True)
    trials = study.folder.path / "trials"
    assert lacking.keys() >= {config.trial_id for config in configs}
    for reason in lacking.values():
        assert reason.startswith(f"StorageError: {trials}")
        # What follows is cut off where the path is long.
        assert "cannot be used, nor could it within 0.3 seconds" in reason
    told = [record.message for record in caplog.records]
    assert any(m.startswith("results are not sent to MLflow until storage is back") for m in told)
    assert not [message for message in told if "MLflow refuses" in message]


def wait_until_sent(study: Written) -> None:
    while not list(study.folder.path.glob("trials/*/mlflow.json")):
        time.sleep(0.05)


def test_sync_names_storage_that_goes_away_rather_than_mlflow(
    study: Written,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    for number in range(3):
        study.whole(number)
    create, gone = MlflowClient.create_run, []

    def create_and_go_away(*arguments: object, **options: Any) -> object:
        run = create(*arguments, **options)
        if options["tags"].get("trial_id") == "search-0001":
            gone.append(taken_away(study))
            gone[0].__enter__()
        return run

    monkeypatch.setattr(MlflowClient, "create_run", create_and_go_away)
    arguments = ["sync", study.folder.name, f"storage={study.folder.path.parent}"]
    assert main(arguments) == 2
    gone[0].__exit__(None, None, None)
    told = capsys.readouterr().err.rpartition("error: ")[2]
    assert told.startswith(str(study.folder.path / "trials" / "search-0001"))
    assert told.endswith("nor could it within 0.3 seconds: No such file or directory\n")
    assert "MLflow" not in told
