"""Measure once a study, on a worker, what each tensor could gain by training."""

import logging
import math
from functools import partial

from study.backbones.architecture import ENCODERS
from study.config.schema import AblationConfig, BackboneConfig
from study.config.trial_settings import TrialSettings
from study.method.parameters import kind_names
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.search.trainable import load_once, one_line, trial_device
from study.search.worker_call import call_on_worker
from study.storage.study_folder import SENSITIVITY
from study.trial.prepare import Preparer
from study.trial.study import TrialConfig, TrialData
from study.trial.task_model import make_task_model
from study.trial.task_training import TaskTraining

logger = logging.getLogger(__name__)


def keep_sensitivities(preparer: Preparer, ablation: AblationConfig) -> None:
    """Write what each tensor could gain into the study's folder, unless it is there.

    One pass over the labelled images tells it, before anything is trained. If it fails, a warning
    says so, and the study goes on without it.

    Args:
        preparer: lays out the data of the study; Ray runs.
        ablation: has the rates: of each kind, the geometric mean of the lowest and the highest.
    """
    study = preparer.study
    if study.folder.read_json(SENSITIVITY) is not None:
        return
    rates = {}
    for kind in kind_names():
        tried = ablation.rates_for(kind)
        if tried:
            rates[kind] = math.sqrt(min(tried) * max(tried))
    groups = [f"{encoder}.{kind}" for encoder in ENCODERS for kind in rates]
    settings = TrialSettings(subset=" + ".join(groups), rates=rates)
    data = preparer.labelled()
    trial = make_trial(study, data, "search", Proposal(settings, "search", 0))
    try:
        measure = partial(_measure, study.config.backbone, trial, data)
        measured = call_on_worker(study.config, measure)
    except Exception as error:  # of any kind: nothing depends on it
        logger.warning("what each tensor could gain cannot be measured: %s", one_line(error))
        return
    study.folder.write_json(SENSITIVITY, {"depths": study.architecture.depths, "tensors": measured})


def _measure(backbone: BackboneConfig, trial: TrialConfig, data: TrialData) -> dict[str, float]:
    precision = trial.training.trial_precision
    loaded = load_once(backbone, trial_device(), precision)
    model = make_task_model(trial, data, loaded, 0)
    return TaskTraining(model).sensitivities()
