"""The precision that ``auto`` stands for: a worker decides it, once a study."""

import ray
import torch

from study.config.schema import AUTO
from study.method.precision import fastest
from study.method.recipe import Precision
from study.search.trainable import trial_device
from study.trial.study import PRECISION, Study


def decide_precision(study: Study) -> Study:
    """Return the study with a precision in the place of ``auto``, which is kept in its folder.

    It is decided on a machine that has what a trial needs, which may not be this one. If the
    machines of a cluster differ, the first decides for all.

    Args:
        study: the study; Ray runs.

    Raises:
        StorageError: the precision cannot be kept.
    """
    known, resources = study.in_precision(), study.config.resources
    if known.config.training.precision != AUTO:
        return known
    there = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)
    found = ray.get(there(_fastest_here).remote(max(1, int(resources.cpus_per_trial))))
    study.folder.write_json(PRECISION, found)
    return study.in_precision()


def _fastest_here(threads: int) -> Precision:
    torch.set_num_threads(threads)
    return fastest(torch.device(trial_device()))
