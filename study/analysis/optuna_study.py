"""The Optuna studies of a search, from their journal or rebuilt from the results table."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from study.analysis.comparison import Row
from study.analysis.results import read_epochs, read_results
from study.errors import SubsetError
from study.method.subsets import parse

logger = logging.getLogger(__name__)

JOURNAL_FILE = "optuna.journal"
_STATES = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def load_optuna_studies(folder: Path) -> dict[str, optuna.Study]:
    """Load the Optuna study of each arm of a search, by the arm's name.

    An arm that the journal lacks is rebuilt from the results table. Its parameters are learning
    rates, λ and, for each site, whether the subset has it; it has no trials that still run.

    Args:
        folder: the study's folder, `runs/NAME`.

    Returns:
        The studies with at least one trial.
    """
    rows = [row for row in read_results(folder).to_pylist() if row["stage"] == "search"]
    arms = sorted({row["arm"] for row in rows} - {"baseline"})
    kept = _from_journal(folder / JOURNAL_FILE)
    epochs = read_epochs(folder).to_pylist()
    return {
        arm: kept.get(arm) or _from_rows(arm, [row for row in rows if row["arm"] == arm], epochs)
        for arm in arms
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
    studies = [optuna.load_study(study_name=name, storage=storage) for name in _names(storage)]
    return {study.study_name: study for study in studies if study.trials}


def _names(storage: JournalStorage) -> list[str]:
    return list(optuna.get_all_study_names(storage))


def _from_rows(arm: str, rows: Sequence[Row], epochs: Sequence[Row]) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(study_name=arm, direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    space = _space(rows)
    curves: dict[str, dict[int, float]] = {}
    for epoch in epochs:
        if epoch["val_score"] is not None:
            curves.setdefault(epoch["trial_id"], {})[epoch["epoch"]] = epoch["val_score"]
    for row in rows:
        state = _STATES.get(row["status"])
        if state == TrialState.COMPLETE and row["val_score"] is None:
            state = TrialState.FAIL
        if state is not None:
            study.add_trial(_frozen_trial(row, state, space, curves.get(row["trial_id"], {})))
    return study


def _frozen_trial(
    row: Row, state: TrialState, space: dict[str, BaseDistribution], curve: dict[int, float]
) -> FrozenTrial:
    params = {name: value for name, value in _params(row, space).items() if value is not None}
    return optuna.trial.create_trial(
        state=state,
        value=row["val_score"] if state == TrialState.COMPLETE else None,
        params=params,
        distributions={name: space[name] for name in params},
        intermediate_values=curve,
        user_attrs={"trial_id": row["trial_id"]},
    )


def _params(row: Row, space: dict[str, BaseDistribution]) -> dict[str, Any]:
    terms = _terms(row["subset"])
    return {name: row.get(name, name in terms) for name in space}


def _space(rows: Sequence[Row]) -> dict[str, BaseDistribution]:
    space: dict[str, BaseDistribution] = {}
    for name in ("bias_lr", "ln_lr", "distill_weight"):
        values = [row[name] for row in rows if row[name] is not None]
        if len(set(values)) > 1:
            space[name] = FloatDistribution(min(values), max(values), log=min(values) > 0)
    terms = [_terms(row["subset"]) for row in rows]
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
