"""MLflow's own functions at a server, and only for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import pytest


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Let MLflow's own functions ask this server."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # MLflow sets it too, and commands that later tests start would obey it.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)
