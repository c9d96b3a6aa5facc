"""MLflow behind the interface of a tracker, against a real store."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from written_study import MakeStudy, runs, started

from study.config.loading import build_config
from study.errors import TrackingError
from study.storage.atomic import StorageError
from study.tracking import named
from study.tracking.mlflow import models
from study.tracking.mlflow.tracker import (
    DEFAULT_URI,
    MlflowTracker,
    is_absent_store,
    is_local,
    tracking_uri,
)


def test_mlflow_is_the_tracker_that_a_configuration_names_by_default() -> None:
    tracker = named(build_config({}, "test").tracking.tracker)
    assert isinstance(tracker, MlflowTracker)
    assert (tracker.name, tracker.title) == ("mlflow", "MLflow")


def test_a_check_leaves_a_store_that_does_not_exist_unmade(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    MlflowTracker().check(build_config({"tracking": {"uri": uri}}, "test"))
    assert list(tmp_path.iterdir()) == []


def test_a_check_names_a_server_that_does_not_answer() -> None:
    config = build_config({"tracking": {"uri": "http://127.0.0.1:9"}}, "test")
    with pytest.raises(TrackingError, match=r"http://127.0.0.1:9 does not answer"):
        MlflowTracker().check(config)


def test_the_end_of_a_study_prints_where_it_is_browsed(mlflow_store: str, make: MakeStudy) -> None:
    study = make("pages")
    tracker = started(study, mlflow_store)
    experiment = MlflowClient(mlflow_store).get_experiment_by_name("pages")
    assert experiment is not None
    (browse, command), (page, address) = tracker.pages()
    assert (browse, page) == ("browse", "page")
    assert command == f"mlflow ui --backend-store-uri {mlflow_store}"
    assert f"/#/experiments/{experiment.experiment_id}/" in address
    assert tracker.close(finished=False) == {}


def test_trials_are_known_by_hash_and_fetched_with_the_files_they_were_sent_with(
    mlflow_store: str, make: MakeStudy, tmp_path: Path
) -> None:
    study = make("known")
    config = study.trial(0, config_hash="c" * 16)
    taken = study.trial(1, config_hash="d" * 16, taken_from="another")
    unfinished = study.trial(2, config_hash="e" * 16)
    for trial in (config, taken, unfinished):
        study.report(trial, 1)
    study.end(config)
    study.end(taken)
    tracker = started(study, mlflow_store)
    assert tracker.close(finished=True) == {}
    run_id = runs(mlflow_store, study)["search-0000"].info.run_id
    assert tracker.known([config, taken, unfinished]) == {"c" * 16: run_id}
    tracker.fetch(run_id, tmp_path)
    for name in ("config.json", "reports.jsonl", "delta.safetensors"):
        there = (study.folder.trial("search-0000").path / name).read_bytes()
        assert (tmp_path / name).read_bytes() == there


def test_what_is_configured_goes_before_the_environment_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == tracking_uri("") == DEFAULT_URI == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://of-the-environment")
    assert tracking_uri(None) == "http://of-the-environment"
    assert tracking_uri("http://configured") == "http://configured"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(None) == DEFAULT_URI


def test_a_store_that_a_study_can_make_is_absent_and_looking_makes_none(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert is_absent_store(uri)
    assert not list(tmp_path.iterdir())
    assert is_absent_store(f"{uri}?timeout=9")
    assert not list(tmp_path.iterdir())


def test_an_empty_store_is_left_empty_and_one_with_tables_is_connected_to(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.touch()
    assert is_absent_store(f"sqlite:///{file}")
    MlflowTracker().check(build_config({"tracking": {"uri": f"sqlite:///{file}"}}, "here"))
    assert file.stat().st_size == 0
    with closing(sqlite3.connect(file)) as store:
        store.execute("CREATE TABLE experiments (id)")
    assert not is_absent_store(f"sqlite:///{file}")


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("no database, " * 1000)
    assert not is_absent_store(f"sqlite:///{file}")


def test_the_default_store_is_looked_for_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_absent_store(DEFAULT_URI)
    (tmp_path / "mlflow.db").mkdir()
    assert not is_absent_store(DEFAULT_URI)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "postgresql://127.0.0.1:9/runs", "sqlite://", "x"]
)
def test_what_is_no_plain_file_must_be_connected_to(uri: str) -> None:
    assert not is_absent_store(uri)


def test_a_store_whose_folder_is_not_there_is_refused_and_the_folder_not_made(
    tmp_path: Path,
) -> None:
    uri = f"sqlite:///{tmp_path / 'missing' / 'mlflow.db'}"
    with pytest.raises(TrackingError, match="is not there; make it") as caught:
        MlflowTracker().check(build_config({"tracking": {"uri": uri}}, "here"))
    assert f"the folder {tmp_path / 'missing'} " in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_store_whose_folder_cannot_be_written_is_refused() -> None:
    with pytest.raises(StorageError, match="/proc lets nobody make"):
        is_absent_store("sqlite:////proc/mlflow.db")


def test_of_a_store_that_does_not_exist_no_model_is_asked_and_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=r"no sqlite:///mlflow\.db; set MLFLOW_TRACKING_URI"):
        MlflowTracker().model("models:/letters/1", tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_a_model_is_asked_of_the_server_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(models, "registered_model", lambda *given: asked.append(given))
    MlflowTracker().model("models:/letters/1", tmp_path)
    assert asked == [("http://127.0.0.1:9", "models:/letters/1", tmp_path)]


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("sqlite:///mlflow.db", True),
        ("sqlite:////srv/mlflow.db", True),
        ("file:///srv/mlruns", True),
        ("mlruns", True),
        ("/srv/mlruns", True),
        ("http://127.0.0.1:5000", False),
        ("postgresql://db/mlflow", False),
        ("databricks", False),
    ],
)
def test_what_is_kept_in_files_of_this_machine_is_local(uri: str, local: bool) -> None:
    assert is_local(uri) is local
