"""Storage that is away while results are sent: nothing is lost, and MLflow is not blamed for it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.storage import atomic
from study.tracking.mlflow import sync as sync_module
from study.tracking.mlflow.study_run import StudyRun
from tests.faults.proxy import wait_until
from tests.study_writer import StudyWriter
from tests.tracking.mlflow.records import artifacts, assert_whole, runs, started


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyWriter:
    monkeypatch.setattr(atomic, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(sync_module, "RETRY_SECONDS", 0.2)
    (tmp_path / "runs").mkdir()
    return StudyWriter(tmp_path / "runs" / tmp_path.name)


def take_away(study: StudyWriter) -> Callable[[], object]:
    """Rename the folder that studies are in; return what brings it back."""
    storage = study.folder.path.parent
    away = storage.rename(storage.with_name("away"))
    return lambda: away.rename(storage)


def be_away_once(
    monkeypatch: pytest.MonkeyPatch, study: StudyWriter, owner: type, call: str
) -> list[threading.Timer]:
    """Let storage be away for a while from the first call on; return what ends that."""
    real, timers = getattr(owner, call), list[threading.Timer]()

    def calling(*arguments: object, **options: object) -> object:
        if not timers:
            timers.append(threading.Timer(0.5, take_away(study)))
            timers[0].start()
        return real(*arguments, **options)

    monkeypatch.setattr(owner, call, calling)
    return timers


@pytest.mark.parametrize(
    "owner, call",
    [
        (MlflowClient, "create_run"),
        (MlflowClient, "log_artifact"),
        (MlflowClient, "set_terminated"),
        (StudyRun, "close"),
    ],
)
def test_all_is_sent_if_storage_goes_away_for_a_while_and_mlflow_is_not_blamed(
    study: StudyWriter,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    call: str,
):
    tracker = started(study, mlflow_store)
    study.conclude()
    timers = be_away_once(monkeypatch, study, owner, call)
    tracker.trial_changed(study.whole(0).trial_id)
    if owner is MlflowClient:
        wait_until(lambda: timers)
        timers[0].join()
    assert tracker.close(finished=True).missing == ""
    assert_whole(mlflow_store, study)
    parent = runs(mlflow_store, study)[""]
    assert parent.data.tags["mlflow.note.content"] == "the **best** is here"
    assert artifacts(mlflow_store, parent) == {"study.yaml", "identity.json", "description.md"}
    assert "MlflowException" not in caplog.text
