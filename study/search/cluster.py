"""Find where trials run: in a cluster that answers, or on this machine if it has enough."""

import os

from study.config.schema import ResourcesConfig
from study.errors import StudyError
from study.method.device import list_gpus

ADDRESS = "RAY_ADDRESS"
"""The environment variable that names the cluster to join."""
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""The file that ``ray up`` leaves on the head of the cluster that it starts."""


def cluster_address() -> str:
    """Return the address of the cluster to join, or ``local`` for a Ray of this study alone.

    A cluster is joined if ``$RAY_ADDRESS`` names one, as in a job of ``ray job submit``, and on the
    head that ``ray up`` has started, where ``ray submit`` runs a study.
    """
    # Raises neither where the home folder is nobody's nor where there is none.
    is_head_of_ray_up = os.path.exists(os.path.expanduser(BOOTSTRAP))  # noqa: PTH110, PTH111
    return os.environ.get(ADDRESS) or ("auto" if is_head_of_ray_up else "local")


def joins_cluster() -> bool:
    """Return whether trials run in a cluster, rather than in a Ray that is started for them."""
    return cluster_address() != "local"


def refuse_unreachable_cluster() -> None:
    """Raise if the cluster to join does not answer.

    Ray itself tries for two minutes, and then ends the process.

    Raises:
        StudyError: it does not answer; the message says what is allowed.
    """
    address = cluster_address()
    if address in ("local", "auto") or "://" in address:  # of a plug-in, which checks it itself
        return
    from study.search.ray_internals import cluster_fault  # imports Ray, which takes seconds

    fault = cluster_fault(address)
    if fault is not None:
        raise StudyError(
            f"no Ray cluster responds at '{address}' ({fault}); start the cluster, correct the "
            f"address (`ray start --head` prints HOST:PORT), or set {ADDRESS}=local to run "
            "trials on this machine"
        )


def refuse_insufficient(needed: float, available: float, unit: str) -> None:
    """Raise if a trial needs more of a resource than this machine has, and no cluster is joined.

    Raises:
        StudyError: it does; Ray would wait for it for ever.
    """
    if needed > available and not joins_cluster():
        raise StudyError(
            f"{needed:g} per trial, but this machine has {available:g} {unit}; expected "
            f"{available:g} or fewer, or a cluster at {ADDRESS}"
        )


def count_slots(resources: ResourcesConfig) -> int:
    """Return how many trials run at once on this machine, if no cluster is joined."""
    slots = int(count_cores() / resources.cpus_per_trial)
    if resources.gpus_per_trial:
        slots = min(slots, int(len(list_gpus()) / resources.gpus_per_trial))
    if resources.max_concurrent is not None:
        slots = min(slots, resources.max_concurrent)
    return slots


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
