"""Trackers show what the ledger holds; no other room imports MLflow or TensorBoard."""

from collections.abc import Sequence

from study.config.plugins import find_object
from study.errors import ConfigError
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tensorboard import TensorBoardTracker
from study.tracking.tracker import Tracker
from study.tracking.tracker_group import TrackerGroup

TRACKERS = {"mlflow": MlflowTracker, "tensorboard": TensorBoardTracker}
"""This package's own trackers, by their names in a configuration."""


def make_trackers(names: Sequence[str], instance: Tracker | None = None) -> list[Tracker]:
    """Return a tracker for each name, not started; see `study.config.plugins.find_object`.

    Args:
        names: the names.
        instance: a tracker that the caller has made; it must have one of the names.

    Raises:
        ConfigError: names are unknown; the message lists all of them.
    """
    if instance and instance.name not in names:
        raise ConfigError(
            f"'{', '.join(names)}' is named, but '{instance.name}' of the trackers was handed over"
        )
    ready_made = {}
    if instance:
        ready_made[instance.name] = instance
    trackers = []
    faults = []
    for name in names:
        try:
            trackers.append(find_object("trackers", name, TRACKERS, ready_made.get(name)))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    return trackers


def make_tracker(names: Sequence[str], instance: Tracker | None = None) -> Tracker:
    """Return one tracker that stands for all names; see `make_trackers`."""
    trackers = make_trackers(names, instance)
    if len(trackers) == 1:
        return trackers[0]
    return TrackerGroup(trackers)
