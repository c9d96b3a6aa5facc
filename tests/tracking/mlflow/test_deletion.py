"""What MLflow has of a study is deleted with it, and what others have stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from study.commands import main
from study.tracking.mlflow.deletion import StudyContents, delete_contents, find_contents
from study.tracking.mlflow.mirror import sync_to_mlflow

MODEL = "clipfit-digits"


@pytest.fixture
def store(new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    uri = new_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def make(store: str, finish: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Makes a finished study that MLflow has, and whose winner is registered."""

    def make(name: str, val_score: float = 0.8, **changes: Any) -> Any:
        study = finish(tmp_path / "runs", name, val_score=val_score, **changes)
        sync_to_mlflow(study.study, store)
        return study

    return make


def id_of(study: Any) -> str:
    return str(study.folder.read_identity()["study_id"])


def left(uri: str) -> dict[str, int]:
    """The number of runs that are left, by study."""
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    counts: dict[str, int] = {}
    for run in client.search_runs(experiments):
        counts[run.data.tags["study"]] = counts.get(run.data.tags["study"], 0) + 1
    return counts


def versions(uri: str) -> dict[str, str]:
    """The study of each version that is left."""
    return {
        str(version.version): version.tags["study"]
        for version in MlflowClient(uri).search_model_versions(f"name = '{MODEL}'")
    }


def champion(uri: str) -> str | None:
    aliases = MlflowClient(uri).get_registered_model(MODEL).aliases
    return str(aliases["champion"]) if "champion" in aliases else None


def test_a_study_goes_with_its_runs_and_versions_and_others_stay(
    store: str, make: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make("first", 0.9), make("second", 0.8)
    before = left(store)
    assert champion(store) == "1"
    assert main(["delete", "second", "--mlflow", "--yes"]) == 0
    told = capsys.readouterr().out
    assert f"{before['second']} runs; 1 logged model; models:/{MODEL}/2" in told
    assert "champion" not in told
    assert "mlflow gc" in told
    assert left(store) == {"first": before["first"]}
    assert versions(store) == {"1": "first"}
    assert champion(store) == "1"
    assert first.folder.exists()
    assert not second.folder.exists()


def test_the_best_version_that_compares_becomes_champion(
    store: str, make: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, score in (("low", 0.7), ("high", 0.8), ("best", 0.9)):
        make(name, score)
    MlflowClient(store).set_model_version_tag(MODEL, "1", "val_score", "0.75")
    assert champion(store) == "3"
    assert main(["delete", "best", "--mlflow", "--yes"]) == 0
    told = capsys.readouterr().out
    assert f"models:/{MODEL}/3, the champion" in told
    assert f"models:/{MODEL}/2, of study 'high', is the champion now" in told
    assert champion(store) == "2"


def test_nobody_becomes_champion_whose_score_does_not_compare(
    store: str, make: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    make("other", 0.7)
    make("best", 0.9)
    MlflowClient(store).set_model_version_tag(MODEL, "1", "split_hash", "another")
    assert main(["delete", "best", "--mlflow", "--yes"]) == 0
    assert f"{MODEL} has no champion now" in capsys.readouterr().out
    assert versions(store) == {"1": "other"}
    assert champion(store) is None


def test_a_registered_model_goes_with_its_last_version(
    store: str, make: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    study = make("only")
    models = MlflowClient(store).search_logged_models(["1", "0"])
    assert len(models) == 1
    study_id = id_of(study)
    assert find_contents(store, study_id) != StudyContents()
    assert main(["delete", "only", "--mlflow", "--yes"]) == 0
    assert f"{MODEL} had no other version, and is deleted too" in capsys.readouterr().out
    with pytest.raises(MlflowException):
        MlflowClient(store).get_registered_model(MODEL)
    assert find_contents(store, study_id) == StudyContents()
    assert not MlflowClient(store).search_logged_models(["1", "0"])


def test_what_was_deleted_in_part_is_deleted_whole_by_another_try(
    store: str, make: Callable[..., Any]
) -> None:
    study = make("half")
    held = find_contents(store, id_of(study))
    MlflowClient(store).delete_run(held.runs[0])
    MlflowClient(store).delete_model_version(*held.versions[0])
    MlflowClient(store).delete_logged_model(held.models[0])
    rest = find_contents(store, id_of(study))
    assert rest == StudyContents(runs=held.runs[1:])
    delete_contents(store, rest)
    assert left(store) == {}
    assert delete_contents(store, find_contents(store, id_of(study))) == []


def test_a_server_that_does_not_answer_keeps_the_study(
    store: str,
    make: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = make("mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["delete", "mine", "--mlflow", "--yes"]) == 2
    assert "127.0.0.1:9 does not tell what it has of the study" in capsys.readouterr().err
    assert study.folder.exists()


def test_a_store_that_is_not_there_is_not_made(
    make: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = make("mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert main(["delete", "mine", "--mlflow", "--yes"]) == 0
    assert "has of it: 0 runs" in capsys.readouterr().out
    assert not (tmp_path / "none.db").exists()
    assert not study.folder.exists()
