"""An address at which MLflow keeps no studies is told in words, and no store is made by looking."""

import http.server
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from study.config.loading import build_config
from study.errors import TrackingError
from study.storage.atomic import StorageError
from study.tracking.mlflow.address import (
    DEFAULT_URI,
    is_absent_store,
    refuse_unusable,
    tracking_uri,
)
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from tests.listening import listening


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


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
    with pytest.raises(StorageError, match="/proc is not writable"):
        is_absent_store("sqlite:////proc/mlflow.db")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mlruns", "mlruns is a folder of files, which MLflow no longer writes"),
        ("file:///tmp/mlruns", "is a folder of files"),
        ("foo://x", "begins with 'foo://', which MLflow does not know"),
        ("sqlite://", "is a store in memory, which ends with the study"),
        ("sqlite:///:memory:", "is a store in memory"),
        ("http://", "names no machine"),
        ("http://127.0.0.1:999999", "is no address of a server"),
        ("http://127.0.0.1:port", "is no address of a server"),
    ],
)
def test_what_mlflow_cannot_use_is_told_with_what_is_allowed(uri: str, told: str) -> None:
    with pytest.raises(TrackingError, match=told) as caught:
        refuse_unusable(uri)
    assert "set tracking.uri or MLFLOW_TRACKING_URI to sqlite:///FILE.db" in str(caught.value)


def test_files_that_are_no_store_are_told(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database")
    (tmp_path / "folder.db").mkdir()
    for name, told in (("notes.db", "a file of another kind"), ("folder.db", "is a folder, and")):
        with pytest.raises(TrackingError, match=told):
            refuse_unusable(f"sqlite:///{tmp_path / name}")


@pytest.mark.parametrize(
    "uri", [DEFAULT_URI, "postgresql+psycopg2://host/runs", "databricks", "uc"]
)
def test_what_mlflow_may_use_is_left_to_it(uri: str) -> None:
    refuse_unusable(uri)


class Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server that is no MLflow."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def told_of(uri: str) -> str:
    with pytest.raises(TrackingError) as caught:
        MlflowTracker().check(build_config({"tracking": {"uri": uri}}, "here"))
    return str(caught.value)


def test_a_server_of_something_else_is_told_in_few_words(web: str) -> None:
    assert "does not answer (HTTP 404: is it an MLflow server at all?)" in told_of(web)
    login = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    with listening(lambda connection: connection.sendall(login)) as port:
        told = told_of(f"http://127.0.0.1:{port}")
    assert "(HTTP 401: it asks for MLFLOW_TRACKING_USERNAME" in told
    with listening(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n")) as port:
        told = told_of(f"http://127.0.0.1:{port}")
    assert "SSH-2.0-OpenSSH" in told
    assert "Max retries" not in told


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://no-such-host.invalid:5000"])
def test_a_server_that_is_not_there_is_told_with_what_is_allowed(uri: str) -> None:
    told = told_of(uri)
    assert f"{uri} does not answer (" in told
    assert "set tracking.uri or MLFLOW_TRACKING_URI" in told
    assert "Max retries" not in told


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.tracking.mlflow.server.BEGINS_WITHIN", 0.3)
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        told = told_of(f"http://127.0.0.1:{port}")
        over.set()
    assert f"127.0.0.1:{port} does not answer (no answer in time); start" in told
