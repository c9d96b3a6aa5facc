"""Private parts of Ray, Tune and Optuna that a search depends on; nothing else in it uses any.

A release may move them without notice. Each has a test that fails then, so that it is mended here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import ray
from optuna.trial import FrozenTrial
from ray._private import ray_constants
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial

CREDENTIALS = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
)
LOW_ON_MEMORY = "due to the node running low on memory"
"""What Ray says of a worker that it killed to keep its machine alive."""
RAISED = "ray::"
"""Where a traceback of Ray's begins; what it says of a worker that died has none."""
MEMORY_REPORT = "Object store memory usage"
"""Where Ray begins to list, for pages, the commands of other processes, which may hold secrets."""


def keep_credentials_from_workers() -> None:
    """Take the `CREDENTIALS` out of what Tune copies to its workers, and Ray into its logs."""
    class_cache.ENV_VARS_TO_PROPAGATE -= CREDENTIALS


@contextmanager
def on_loopback() -> Iterator[None]:
    """Let Ray listen on loopback alone; on Linux it listens on every interface.

    The node's address as an argument has no such effect: Ray replaces it by the outward one
    wherever it knows of clusters.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def in_a_cluster() -> bool:
    """Return whether ``ray start`` has made this machine a part of a cluster."""
    return ray._private.utils.read_ray_address() is not None


def started_here() -> bool:
    """Return whether this process started the Ray that it uses."""
    node = ray._private.worker._global_node
    return node is not None and bool(node.head)


def forget_results(trial: Trial) -> None:
    """Drop the extremes, means and last values that Tune keeps of a trial to the study's end."""
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()


def reopen_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return a running trial of a study that an earlier process asked for."""
    return optuna.Trial(study, trial._trial_id)
