"""The precision that ``auto`` stands for: a worker decides it, once a study."""

from typing import cast

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from study.config.search_section import AUTO
from study.errors import StudyError
from study.method.precision import fastest
from study.method.recipe import Precision
from study.search.driver import concurrency
from study.search.ray_errors import cause_of
from study.search.trainable import trial_device
from study.trial.study import PRECISION, Study


def decide_precision(study: Study) -> Study:
    """Return the study with a precision in the place of ``auto``, which is kept in its folder.

    It is decided on a machine that has what a trial needs, which may not be this one. If the
    machines of a cluster differ, the first decides for all. What the study's trials were trained
    in stays, also if the file is gone.

    Args:
        study: the study; Ray runs.

    Raises:
        StorageError: the precision cannot be kept.
        StudyError: no worker can train.
    """
    known, resources = study.in_precision(), study.config.resources
    if known.config.training.precision != AUTO:
        return known
    trained = (trial.read_config()["training"]["precision"] for trial in study.folder.trials())
    if (found := next(trained, None)) is None:
        concurrency(study.config)  # says if it waits for a machine
        there = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)
        found = _answer(there(_fastest_here).remote(max(1, int(resources.cpus_per_trial))))
    study.folder.write_json(PRECISION, found)
    return study.in_precision()


def _answer(asked: ray.ObjectRef) -> Precision:
    try:
        return cast(Precision, ray.get(asked))
    except RayTaskError as error:  # whose text is a worker's traceback
        raise error.cause from error
    except RayError as error:
        raise StudyError(
            f"the time of bfloat16 and float32 cannot be measured: {cause_of(error)}"
        ) from error


def _fastest_here(threads: int) -> Precision:
    torch.set_num_threads(threads)
    return fastest(torch.device(trial_device()))
