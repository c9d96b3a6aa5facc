"""Trackers, which keep what the ledger holds; MLflow is imported in this room alone."""

from study.config.plugins import find
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tracker import Tracker


def named(name: str, given: Tracker | None = None) -> Tracker:
    """Return the tracker of a name, which is not started; see `study.config.plugins.find`.

    Raises:
        ConfigError: there is none.
    """
    return find("trackers", name, {"mlflow": MlflowTracker}, given)
