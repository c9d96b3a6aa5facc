"""What MLflow has of a study is deleted with it, and what others have stays."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.commands import main
from study.tracking.mlflow.deletion import StudyContents, delete_contents, find_contents
from study.tracking.mlflow.mirror import sync_to_mlflow

MODEL = "clipfit-digits"


@pytest.fixture
def make(store: str, finish: Any, tmp_path: Path) -> Any:
    """Makes a finished study that MLflow has, and whose winner is registered."""

    def make(name: str, val_score: float = 0.8) -> Any:
        study = finish(tmp_path / "runs", name, val_score=val_score)
        sync_to_mlflow(study.study, store)
        return study

    return make


def contents(study: Any, uri: str) -> StudyContents:
    return find_contents(uri, study.folder.read_identity()["study_id"])


def left(uri: str) -> Counter[str]:
    """The number of runs that are left, by study."""
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return Counter(run.data.tags["study"] for run in client.search_runs(experiments))


def versions(uri: str) -> dict[str, str]:
    """The study of each version that is left."""
    found = MlflowClient(uri).search_model_versions(f"name = '{MODEL}'")
    return {str(version.version): version.tags["study"] for version in found}


def champion(uri: str) -> str | None:
    version = MlflowClient(uri).get_registered_model(MODEL).aliases.get("champion")
    return version and str(version)


def delete(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Delete a study by the command; return what is said."""
    capsys.readouterr()
    assert main(["delete", name, "--mlflow", "--yes"]) == 0
    return capsys.readouterr().out


@pytest.mark.long
def test_a_study_goes_with_its_runs_and_versions_and_the_next_best_becomes_champion(
    store: str, make: Any, capsys: pytest.CaptureFixture[str]
):
    client = MlflowClient(store)
    studies = [make("low", 0.7), make("high", 0.8), make("best", 0.9)]
    client.set_model_version_tag(MODEL, "1", "split_hash", "another")
    before = left(store)
    told = delete("best", capsys)
    assert f"{before.pop('best')} runs; 1 logged model; models:/{MODEL}/3, the champion" in told
    assert "mlflow gc" in told
    assert f"models:/{MODEL}/2, of study 'high', is the champion now" in told
    assert left(store) == before
    assert (versions(store), champion(store)) == ({"1": "low", "2": "high"}, "2")
    assert [study.folder.exists() for study in studies] == [True, True, False]
    told = delete("high", capsys)
    assert f"{MODEL} has no champion now" in told, "the other was chosen on other images"
    assert champion(store) is None
    told = delete("low", capsys)
    assert "champion" not in told
    assert f"{MODEL} had no other version, and is deleted too" in told
    assert client.search_registered_models() == client.search_logged_models(["1", "0"]) == []
    assert left(store) == {}


def test_what_was_deleted_in_part_is_deleted_whole_by_another_try(store: str, make: Any):
    study = make("half")
    held = contents(study, store)
    MlflowClient(store).delete_run(held.runs[0])
    MlflowClient(store).delete_model_version(MODEL, held.versions[MODEL][0])
    MlflowClient(store).delete_logged_model(held.models[0])
    rest = contents(study, store)
    assert rest == StudyContents(runs=held.runs[1:])
    delete_contents(store, rest)
    assert left(store) == {}
    assert contents(study, store) == StudyContents()
    assert delete_contents(store, StudyContents()) == []


def test_a_server_that_does_not_answer_keeps_the_study_and_a_store_that_is_not_there_does_not(
    make: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    study = make("mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["delete", "mine", "--mlflow", "--yes"]) == 2
    assert "127.0.0.1:9 does not tell what it has of the study" in capsys.readouterr().err
    assert study.folder.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert "has of it: 0 runs" in delete("mine", capsys)
    assert not (tmp_path / "none.db").exists()
    assert not study.folder.exists()
