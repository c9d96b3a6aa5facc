"""How many trials run at once, as far as is known before Ray starts."""

import os

from study.config.schema import ResourcesConfig
from study.method.device import list_gpus
from study.process.terminal_table import amount
from study.search.machine import joins_cluster


def describe_concurrency(resources: ResourcesConfig) -> str:
    """Return how many trials run at once, and on what, as far as is known before Ray starts."""
    each = f"each on {amount(resources.cpus_per_trial, 'CPU core')}"
    if resources.gpus_per_trial:
        each += f" and {amount(resources.gpus_per_trial, 'GPU')}"
    slots = count_slots(resources)
    if slots and not joins_cluster():  # what fits nowhere is refused by the check
        text = f"{slots} at once, {each} of {count_cores()}"
        gpus = list_gpus()
        if gpus and not resources.gpus_per_trial:
            text += f"; the GPU ({gpus[0]}) is not used: resources.gpus_per_trial=1 uses it"
        return text
    if resources.max_concurrent is None:
        return f"as many at once as the cluster has room for, {each}"
    return f"up to {resources.max_concurrent} at once, {each}"


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
