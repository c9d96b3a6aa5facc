"""Decide once a study, on a worker, the precision that ``auto`` stands for."""

import torch

from study.config.search_section import AUTO
from study.method.precision import choose_precision
from study.search.trainable import trial_device
from study.search.worker_call import call_on_worker
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
    if decided.config.training.precision != AUTO:
        return decided
    trained = (trial.read_config()["training"]["precision"] for trial in study.folder.trials())
    precision = next(trained, None)
    if precision is None:
        precision = call_on_worker(
            study.config, lambda: choose_precision(torch.device(trial_device()))
        )
    study.folder.write_json(PRECISION, precision)
    return study.resolve_precision()
