"""The relative weights of the parameters of the open search, which Optuna computes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.config.labels import OPEN
from study.storage.study_folder import StudyFolder

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

    weights: Mapping[str, float]
    """The weight of each parameter; they sum to 1, even for noise. Empty if not computed."""
    trials: int = 0
    """The number of finished trials that have all of these parameters."""
    reason_if_empty: str = ""
    """The reason why there are no weights, such as a message of Optuna."""


def importances(study: optuna.Study | None) -> Importances:
    """Compute parameter importances by Optuna's fANOVA; of no study there are none.

    A conditional parameter, such as the learning rate of LayerNorms, is missing from trials that
    tune none of them. Including it excludes those trials, so at least `MIN_PRESENCE` of all
    must remain. Parameters that do not vary are left out.
    """
    import optuna

    complete = (optuna.trial.TrialState.COMPLETE,)
    trials = study.get_trials(deepcopy=False, states=complete) if study else []
    if study is None or len(trials) < MIN_TRIALS:
        reason = f"{len(trials)} trials have finished; expected {MIN_TRIALS} or more"
        return Importances({}, reason_if_empty=reason)
    fewest = max(MIN_TRIALS, MIN_PRESENCE * len(trials))
    parameters = []
    presence = Counter(name for trial in trials for name in trial.params)
    for name in sorted(presence, key=lambda name: (-presence[name], name)):
        with_parameter = [trial for trial in trials if name in trial.params]
        values = {trial.params[name] for trial in with_parameter}
        if len(values) > 1 and len(with_parameter) >= fewest:
            parameters.append(name)
            trials = with_parameter
    if not parameters:
        reason = "no parameter varies in enough finished trials"
        return Importances({}, reason_if_empty=reason)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
    try:
        weights = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=parameters
        )
    except (RuntimeError, ValueError) as error:
        return Importances({}, reason_if_empty=str(error))
    return Importances(weights, len(trials))


def load_open_search(folder: StudyFolder) -> optuna.Study | None:
    """Load the Optuna study of a study's open search; None if it has none, or a damaged one."""
    import optuna

    path = folder.path / "optuna.journal"
    # The backend creates a missing file, and reading must not leave one behind.
    if not path.is_file():
        return None
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(backend)
    except Exception as error:  # any kind: Optuna does not check what it reads
        logger.warning("%s is damaged (%s), so importances are not drawn", path, error)
        return None
    if OPEN not in optuna.get_all_study_names(storage):
        return None
    study = optuna.load_study(study_name=OPEN, storage=storage)
    return study if study.trials else None
