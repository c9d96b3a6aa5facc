"""Decide once a study, on a worker, the precision that ``auto`` stands for."""

from typing import cast

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from study.config.search_section import AUTO
from study.errors import StudyError
from study.method.precision import choose_precision
from study.method.recipe import Precision
from study.search.driver import concurrency
from study.search.ray_errors import cause_of
from study.search.trainable import trial_device
from study.trial.study import PRECISION, Study


def decide_precision(study: Study) -> Study:
    """Return the study with a precision in the place of ``auto``, which is kept in its folder.

    A machine that has what a trial needs decides, which may not be this one. If the machines of a
    cluster differ, the first decides for all. If the study has trials, their precision stays, also
    if the file is gone.

    Args:
        study: the study; Ray runs.

    Raises:
        StorageError: the precision cannot be kept.
        StudyError: no worker can train.
    """
    decided = study.resolve_precision()
    resources = study.config.resources
    if decided.config.training.precision != AUTO:
        return decided
    trained = (trial.read_config()["training"]["precision"] for trial in study.folder.trials())
    precision = next(trained, None)
    if precision is None:
        concurrency(study.config)  # says if it waits for a machine
        remote = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)
        threads = max(1, int(resources.cpus_per_trial))
        precision = _result_of(remote(_fastest_here).remote(threads))
    study.folder.write_json(PRECISION, precision)
    return study.resolve_precision()


def _result_of(reference: ray.ObjectRef) -> Precision:
    try:
        return cast(Precision, ray.get(reference))
    except RayTaskError as error:  # whose text is a worker's traceback
        raise error.cause from error
    except RayError as error:
        raise StudyError(
            f"the time of bfloat16 and float32 cannot be measured: {cause_of(error)}"
        ) from error


def _fastest_here(threads: int) -> Precision:
    torch.set_num_threads(threads)
    return choose_precision(torch.device(trial_device()))
