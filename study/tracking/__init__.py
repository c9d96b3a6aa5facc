"""Trackers show what a study's folder holds; no other package imports MLflow."""

from pathlib import Path
from typing import TYPE_CHECKING

from study.config.plugins import find_object
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from study.serving.saved_model import SavedModel

__all__ = ["TRACKERS", "Tracker", "download_model", "make_tracker"]

TRACKERS = {"mlflow": MlflowTracker, "none": NoTracker}
"""This package's own trackers, by their names in a configuration."""


def make_tracker(name: str) -> Tracker:
    """Return the tracker of a name, not started; see `study.config.plugins.find_object`.

    Raises:
        ConfigError: the name is unknown.
    """
    return find_object("trackers", name, TRACKERS)


def download_model(address: str, folder: Path) -> "SavedModel":
    """Download a registered model, see `study.tracking.mlflow.models.download_model`."""
    from study.tracking.mlflow import models  # MLflow takes seconds to import

    return models.download_model(address, folder)
