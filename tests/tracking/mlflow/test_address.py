"""An address at which MLflow keeps no studies is explained, and looking makes no store."""

from pathlib import Path

import pytest

from study.config.loading import build_config
from study.errors import TrackingError
from study.storage.atomic import StorageError
from study.storage.new_folders import JOB
from study.tracking.mlflow.address import DEFAULT_URI, is_absent_store, tracking_uri
from study.tracking.mlflow.mlflow_tracker import MlflowTracker


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def check(uri: str):
    MlflowTracker().check(build_config({"tracking": {"uri": uri}}, "here"))


def test_what_is_configured_goes_before_the_environment_and_that_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # MLflow would go on with the store of the folder before
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(None) == tracking_uri("") == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://of-the-environment")
    assert tracking_uri(None) == "http://of-the-environment"
    assert tracking_uri("http://configured") == "http://configured"


def test_a_store_that_a_study_can_make_is_absent_and_looking_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    own = f"sqlite:///{tmp_path / 'own.db'}"
    for uri in (DEFAULT_URI, own, f"{own}?timeout=9"):
        assert is_absent_store(uri)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "own.db").touch()
    assert is_absent_store(own)
    check(own)
    assert (tmp_path / "own.db").stat().st_size == 0, "an empty one is left empty"
    (tmp_path / "own.db").write_text("no database, " * 1000)
    for uri in (own, f"sqlite:///{tmp_path}", "http://127.0.0.1:9", "postgresql://host/runs", "x"):
        assert not is_absent_store(uri), "it must be connected to"


def test_a_store_that_would_not_outlast_the_study_or_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(TrackingError, match="does not exist; create it, or set"):
        check(f"sqlite:///{tmp_path / 'missing' / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="/proc is not writable"):
        is_absent_store("sqlite:////proc/mlflow.db")
    monkeypatch.setenv(JOB, '{"runtime_env": {"working_dir": "gcs://_ray_pkg_0.zip"}}')
    with pytest.raises(TrackingError, match="would be on whichever machine runs this job"):
        check(DEFAULT_URI)


@pytest.mark.parametrize(
    "uri",
    [
        *("mlruns", "foo://x", "http://", f"sqlite:///{__file__}", "sqlite:///:memory:"),
        *("http://me:s3cret@127.0.0.1:9", "http://no-such-host.invalid:5000"),
        "postgresql://127.0.0.1:9/runs?user=me&password=s3cret",
    ],
)
def test_an_address_that_mlflow_cannot_use_is_refused_with_what_is_allowed(
    uri: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="or MLFLOW_TRACKING_URI") as refused:
        MlflowTracker().check(build_config({}, "here"))
    assert "Max retries" not in str(refused.value)
    assert "s3cret" not in str(refused.value)
