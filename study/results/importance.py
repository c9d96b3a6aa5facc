"""The importance of each searched parameter, which Optuna computes from its studies of a search."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from study.results.study_result import StudyResult

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)
MIN_TRIALS = 30
"""The fewest finished trials for which importances are not just noise."""
MIN_PRESENCE = 0.6
"""The smallest share of the finished trials that must have all plotted parameters."""
SEED = 0
"""The seed of the forests that importances come from, so that plots are reproducible."""


@dataclass(frozen=True)
class Importances:
    """The relative weights of a search's parameters by functional ANOVA."""

    finished: int
    """The number of finished trials."""
    weights: Mapping[str, float]
    """The weight of each parameter; they sum to 1, even for noise. Empty if not computed."""
    trials: int
    """The number of finished trials that have all of these parameters."""
    error: str | None = None
    """The message of Optuna if it cannot compute importances of these trials."""


def importances(study: optuna.Study) -> Importances:
    """Compute parameter importances by Optuna's fANOVA."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    finished = len(_completed(study))
    none = Importances(finished, {}, finished)
    parameters, trials = common_parameters(study)
    if not parameters:  # nor are there any below `MIN_TRIALS`
        return none
    evaluator = FanovaImportanceEvaluator(seed=SEED)
    try:
        weights = get_param_importances(study, evaluator=evaluator, params=parameters)
    except (RuntimeError, ValueError) as error:
        return replace(none, error=str(error))
    return Importances(finished, weights, trials)


def common_parameters(study: optuna.Study) -> tuple[list[str], int]:
    """Return the parameters that vary, and the number of finished trials that have all of them.

    A conditional parameter, such as the learning rate of LayerNorms, is missing from trials that
    tune none of them. Including it excludes those trials, so at least `MIN_PRESENCE` of all
    must remain.
    """
    trials = _completed(study)
    fewest = max(MIN_TRIALS, MIN_PRESENCE * len(trials))
    parameters = []
    presence = Counter(name for trial in trials for name in trial.params)
    for name in sorted(presence, key=lambda name: (-presence[name], name)):
        with_parameter = [trial for trial in trials if name in trial.params]
        values = {trial.params[name] for trial in with_parameter}
        if len(values) > 1 and len(with_parameter) >= fewest:
            parameters.append(name)
            trials = with_parameter
    return parameters, len(trials)


def _completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    import optuna

    states = (optuna.trial.TrialState.COMPLETE,)
    trials: list[optuna.trial.FrozenTrial] = study.get_trials(deepcopy=False, states=states)
    return trials


def load_optuna_studies(results: StudyResult) -> dict[str, optuna.Study]:
    """Load the Optuna study of each group of a search from the journal, by the group's name.

    Args:
        results: the results of the study.

    Returns:
        The studies with at least one trial, without those of peers, which search one number.
    """
    import optuna

    path = results.folder.path / "optuna.journal"
    # The backend creates a missing file, and reading must not leave one behind.
    if not path.is_file():
        return {}
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(backend)
    except Exception as error:  # any kind: Optuna does not check what it reads
        logger.warning("%s is damaged (%s); importances are not drawn", path, error)
        return {}
    search = results.stage("search")
    groups = {trial.group for trial in search if trial.proposed and not trial.settings.peer}
    studies = {}
    for group in sorted(groups.intersection(optuna.get_all_study_names(storage))):
        study = optuna.load_study(study_name=group, storage=storage)
        if study.trials:
            studies[group] = study
    return studies
