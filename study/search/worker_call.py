"""Call a function once on a worker, which has what a trial needs."""

from collections.abc import Callable
from typing import TypeVar

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from study.config.schema import StudyConfig
from study.errors import ClusterError
from study.search.driver import concurrency
from study.search.ray_errors import cause_of

T = TypeVar("T")


def call_on_worker(config: StudyConfig, function: Callable[[], T]) -> T:
    """Return what a function returns on a worker, with the PyTorch threads of a trial; Ray runs.

    Raises:
        ClusterError: no worker can run it. What the function raises is raised here, too.
    """
    resources = config.resources

    def run() -> T:
        torch.set_num_threads(resources.threads)
        return function()

    concurrency(config)  # says if it waits for a machine
    remote = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)
    try:
        result: T = ray.get(remote(run).remote())
    except RayTaskError as error:  # whose text is a worker's traceback
        raise error.cause from error
    except RayError as error:
        raise ClusterError(f"no worker answers: {cause_of(error)}") from error
    return result
