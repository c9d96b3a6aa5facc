"""The Optuna studies of a search, from their journal or rebuilt from the results."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from study.analysis.results import Results, TrialResult
from study.config.settings import settings_columns
from study.errors import SubsetError
from study.method.subsets import parse

logger = logging.getLogger(__name__)

JOURNAL_FILE = "optuna.journal"
_STATES = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def load_optuna_studies(results: Results) -> dict[str, optuna.Study]:
    """Load the Optuna study of each arm of a search, by the arm's name.

    An arm that the journal lacks is rebuilt from the results. Its parameters are learning
    rates, λ and, for each site, whether the subset has it; it has no trials that still run.

    Args:
        results: the results of the study.

    Returns:
        The studies with at least one trial.
    """
    searched = results.stage("search")
    kept = _from_journal(results.folder.path / JOURNAL_FILE)
    return {
        arm: kept.get(arm) or _from_trials(arm, [trial for trial in searched if trial.arm == arm])
        for arm in sorted({trial.arm for trial in searched} - {"baseline"})
    }


def _from_journal(path: Path) -> dict[str, optuna.Study]:
    # The backend creates a missing file, and reading must not leave one behind.
    if not path.is_file():
        return {}
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # any kind: Optuna does not check what it reads
        logger.warning("%s is damaged (%s); the trials are taken from the table", path, error)
        return {}
    names = list(optuna.get_all_study_names(storage))
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    return {study.study_name: study for study in studies if study.trials}


def _from_trials(arm: str, trials: Sequence[TrialResult]) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(study_name=arm, direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    space = _space(trials)
    for trial in trials:
        state = _STATES.get(trial.status)
        if state == TrialState.COMPLETE and trial.val_score is None:
            state = TrialState.FAIL
        if state is not None:
            study.add_trial(_frozen_trial(trial, state, space))
    return study


def _frozen_trial(
    trial: TrialResult, state: TrialState, space: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    terms, flat = _terms(trial.settings.subset), trial.settings.flat()
    values = {name: flat.get(name, name in terms) for name in space}
    params = {name: value for name, value in values.items() if value is not None}
    return optuna.trial.create_trial(
        state=state,
        value=trial.val_score if state == TrialState.COMPLETE else None,
        params=params,
        distributions={name: space[name] for name in params},
        intermediate_values=dict(trial.curve),
        user_attrs={"trial_id": trial.trial_id},
    )


def _space(trials: Sequence[TrialResult]) -> dict[str, BaseDistribution]:
    space: dict[str, BaseDistribution] = {}
    flat = [trial.settings.flat() for trial in trials]
    for name in settings_columns():
        values = [value for one in flat if isinstance(value := one[name], int | float)]
        if len(set(values)) > 1:
            space[name] = FloatDistribution(min(values), max(values), log=min(values) > 0)
    terms = [_terms(trial.settings.subset) for trial in trials]
    for name in sorted(set().union(*terms)):
        if not all(name in held for held in terms):
            space[name] = CategoricalDistribution((False, True))
    return space


def _terms(subset: str | None) -> frozenset[str]:
    try:
        terms = parse(subset or "none").terms
    except SubsetError:
        # Perhaps of another version of the language. The text is still the same for equal subsets.
        return frozenset({subset or ""})
    # Layers are left out, as nearly every window would become a separate parameter.
    return frozenset(f"{term.encoder}.{term.site}" for sign, term in terms if sign > 0)
