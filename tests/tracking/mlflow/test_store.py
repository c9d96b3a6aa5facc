"""Where results go is what was configured, and a store that is not there yet is known as such."""

import os
from pathlib import Path

import pytest

from study.tracking.mlflow.store import DEFAULT_URI, is_absent_store, tracking_uri


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
    (tmp_path / "mlflow.db").touch()
    assert not is_absent_store(uri)


def test_the_default_store_is_looked_for_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_absent_store(DEFAULT_URI)
    (tmp_path / "mlflow.db").touch()
    assert not is_absent_store(DEFAULT_URI)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "postgresql://127.0.0.1:9/runs", "sqlite:///x.db?timeout=9", "x"]
)
def test_what_is_no_plain_file_must_be_connected_to(uri: str) -> None:
    assert not is_absent_store(uri)


def test_a_store_whose_folder_is_missing_or_shut_must_be_connected_to_and_so_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_absent_store(f"sqlite:///{tmp_path / 'missing' / 'mlflow.db'}")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not is_absent_store(f"sqlite:///{tmp_path / 'mlflow.db'}")
