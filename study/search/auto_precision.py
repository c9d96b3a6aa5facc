"""Decide once a study, on a worker, the precision that ``auto`` stands for."""

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from study.config.search_section import AUTO
from study.errors import ClusterError
from study.method.precision import choose_precision
from study.method.training_options import Precision
from study.search.driver import concurrency
from study.search.ray_internals import cause_of
from study.search.trial_worker import trial_device
from study.trial.study import PRECISION, Study


def decide_precision(study: Study, *, in_process: bool = False) -> Study:
    """Return the study with a precision in the place of ``auto``, which is kept in its folder.

    A machine that has what a trial needs decides, which may not be this one. If the machines of a
    cluster differ, the first decides for all. If the study has trials, their precision stays, also
    if the file is gone.

    Args:
        study: the study; Ray runs, unless trials run in this process.
        in_process: whether they do, so that this process decides.

    Raises:
        ClusterError: no worker answers.
        StorageError: the precision cannot be kept.
        StudyError: no worker can train.
    """
    decided = study.resolve_precision()
    if decided.config.training.precision != AUTO:
        return decided
    trained = (trial.read_config()["training"]["precision"] for trial in study.folder.trials())
    precision = next(trained, None)
    if precision is None and in_process:
        precision = _choose_here(study.config.resources.threads)
    if precision is None:
        resources = study.config.resources
        concurrency(study.config)  # says if it waits for a machine
        remote = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)
        try:
            precision = ray.get(remote(_choose_here).remote(resources.threads))
        except RayTaskError as error:  # whose text is a worker's traceback
            raise error.cause from error
        except RayError as error:
            raise ClusterError(f"no worker of Ray responds: {cause_of(error)}") from error
    study.folder.write_json(PRECISION, precision)
    return study.resolve_precision()


def _choose_here(threads: int) -> Precision:
    """Return the precision of this process, with the PyTorch threads of a trial."""
    torch.set_num_threads(threads)
    return choose_precision(torch.device(trial_device()))
