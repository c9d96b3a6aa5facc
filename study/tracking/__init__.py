"""Trackers, which keep what the ledger holds; MLflow is imported in this room alone."""

from __future__ import annotations

from study.tracking.mlflow.tracker import MlflowTracker
from study.tracking.tracker import Tracker


def named(name: str, given: Tracker | None = None) -> Tracker:
    """Return the tracker of a name; it is not started.

    Args:
        name: the name in the configuration.
        given: a tracker that was handed over, whose name must be that one.

    Raises:
        ConfigError: no tracker has the name.
    """
    return given or MlflowTracker()
