"""What tests of MLflow share: a store of their own, registered studies, and a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.tracking.mlflow.registry import register_best
from study.tracking.mlflow.study_run import StudyRun


@pytest.fixture
def store(new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of the test's own in the working folder, which the process is notified of as well."""
    monkeypatch.chdir(tmp_path)
    uri = new_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


class Registered:
    """A finished study, and what a store has of its registered best configuration."""

    def __init__(self, study: Any, uri: str):
        self.study, self.uri = study, uri
        self.run = StudyRun(study.study, uri)
        registration = register_best(self.run)
        assert registration is not None
        self.registration = registration
        client = MlflowClient(uri)
        self.version = client.get_model_version(registration.model, registration.version)


@pytest.fixture(scope="module")
def register_in_own_store(
    finish: Any,
    new_store: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Registered]:
    """Register the best configuration of a finished study in a store of their own."""

    def register(name: str, **changes: Any) -> Registered:
        place = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            return Registered(finish(place, name, **changes), new_store(place))

    return register
