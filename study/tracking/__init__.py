"""Trackers, which keep what the ledger holds; MLflow and TensorBoard are imported here alone."""

from collections.abc import Sequence

from study.config.plugins import find_object
from study.errors import ConfigError
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tensorboard import TensorBoardTracker
from study.tracking.tracker import Tracker
from study.tracking.tracker_group import Trackers

TRACKERS = {"mlflow": MlflowTracker, "tensorboard": TensorBoardTracker}
"""This package's own trackers, by the name that a configuration has for them."""


def make_trackers(names: Sequence[str], given: Tracker | None = None) -> list[Tracker]:
    """Return the trackers of names, which are not started; see `study.config.plugins.find_object`.

    Args:
        names: the names.
        given: a tracker that was handed over; it must have one of the names.

    Raises:
        ConfigError: a name is unknown; the message tells of each.
    """
    if given is not None and given.name not in names:
        raise ConfigError(
            f"'{', '.join(names)}' is named, but '{given.name}' of the trackers was handed over"
        )
    trackers: list[Tracker] = []
    faults: list[str] = []
    for name in names:
        handed = given if given is not None and given.name == name else None
        try:
            trackers.append(find_object("trackers", name, TRACKERS, handed))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    return trackers


def make_tracker(names: Sequence[str], given: Tracker | None = None) -> Tracker:
    """Return the trackers of names as one; see `make_trackers`."""
    trackers = make_trackers(names, given)
    return trackers[0] if len(trackers) == 1 else Trackers(trackers)
