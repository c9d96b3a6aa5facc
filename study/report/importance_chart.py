"""The importance of each searched parameter, which Optuna computes from its studies of a search."""

import logging
from collections import Counter
from collections.abc import Sequence

import optuna
from optuna.importance import (
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    get_param_importances,
)

from study.process.terminal_table import amount
from study.report.arms import arm_name
from study.report.charts import BAR_HEIGHT, Axis, Chart, Panel, Series
from study.report.site_descriptions import choices_in_words
from study.results.study_results import Results

logger = logging.getLogger(__name__)

MIN_TRIALS = 30
"""The fewest finished trials for which importances are not just noise."""
TRUSTED_TRIALS = 50
"""The fewest finished trials for which a caption does not warn that importances are noisy."""
MOST = 0.6
"""The smallest share of the finished trials that must have all plotted parameters."""
EVALUATORS = {"fANOVA": FanovaImportanceEvaluator, "MDI": MeanDecreaseImpurityImportanceEvaluator}
SEED = 0
"""The seed of the forests that importances come from, so that plots are reproducible."""
NOTHING_VARIES = "no parameter varies in enough finished trials"


def importances(study: optuna.Study) -> dict[str, dict[str, float]] | str:
    """Compute parameter importances by fANOVA and by mean decrease in impurity (MDI).

    Returns:
        The share of each parameter by method, which sum to 1 for each method; or the reason why
        there are none.
    """
    finished = len(_completed(study))
    if finished < MIN_TRIALS:
        return f"needs {MIN_TRIALS} finished trials, has {finished}"
    if not (parameters := common_parameters(study)):
        return NOTHING_VARIES
    try:
        return {
            name: get_param_importances(study, evaluator=evaluator(seed=SEED), params=parameters)
            for name, evaluator in EVALUATORS.items()
        }
    except (RuntimeError, ValueError) as error:
        return f"Optuna cannot tell importances of these trials ({error})"


def common_parameters(study: optuna.Study) -> list[str]:
    """Return the parameters that vary and that enough finished trials have together.

    A conditional parameter, such as the learning rate of LayerNorms, is missing from trials that
    tune none of them. Including it excludes those trials, so at least `MOST` of all must remain.
    """
    trials = completed = _completed(study)
    chosen: list[str] = []
    presence = Counter(name for trial in trials for name in trial.params)
    for name in sorted(presence, key=lambda name: (-presence[name], name)):
        kept = [trial for trial in trials if name in trial.params]
        varies = len({trial.params[name] for trial in kept}) > 1
        if varies and len(kept) >= max(MIN_TRIALS, MOST * len(completed)):
            chosen.append(name)
            trials = kept
    return chosen


def importance_chart(arm: str, study: optuna.Study, color: str, *, stopped: int = 0) -> Chart:
    """Draw how much of the spread of an arm's scores each parameter explains, in percent.

    Args:
        arm: the name of the arm.
        study: its Optuna study.
        color: the colour of the arm, which is paler for the second method.
        stopped: the number of the arm's trials that were stopped early; none of them is counted in
            an importance, since they have no final score.
    """
    found = importances(study)
    shares, missing = ({}, found) if isinstance(found, str) else (found, NOTHING_VARIES)
    order = sorted(shares.get("fANOVA", {}), key=lambda parameter: shares["fANOVA"][parameter])
    series = tuple(
        Series(
            method,
            [100 * shares[method].get(parameter, 0.0) for parameter in order],
            [row + shift * BAR_HEIGHT for row in range(len(order))],
            style="bars",
            color=color,
            opacity=opacity,
        )
        for method, opacity, shift in zip(shares, (0.9, 0.4), (0.5, -0.5), strict=False)
    )
    if stopped:
        missing += f"; {amount(stopped, 'trial')} stopped early"
    return Chart(
        f"importance-{arm}",
        f"Parameter importance: {arm_name(arm)}",
        _caption(_with_all(study, order), stopped) + choices_in_words(order),
        (Panel(Axis("share of the spread, %"), Axis("", names=order), series),),
        otherwise=missing,
        width=6.5,
        height=1.4 + 0.35 * len(order),
    )


def _caption(trials: int, stopped: int) -> str:
    """Return what a chart of importances shows, and what it cannot.

    Args:
        trials: the number of finished trials that it is computed from.
        stopped: the number of trials that were stopped early.
    """
    sentences = [
        f"Share of the spread of validation scores over {trials} finished trials that each "
        "parameter explains, by two methods; it says nothing of direction.",
        "If the methods disagree, trust neither.",
        "Parameters that too few trials have are left out.",
    ]
    if stopped:
        sentences.append(
            f"Not in it: {amount(stopped, 'trial')} stopped early, as by successive halving. A "
            "parameter that they were stopped for can matter more than it seems here."
        )
    if trials < TRUSTED_TRIALS:
        sentences.append("With so few trials this is a hint at best.")
    return " ".join(sentences) + " "


def _with_all(study: optuna.Study, parameters: Sequence[str]) -> int:
    """Return the number of finished trials that have all of some parameters."""
    return sum(all(name in trial.params for name in parameters) for trial in _completed(study))


def _completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def load_optuna_studies(results: Results) -> dict[str, optuna.Study]:
    """Load the Optuna study of each arm of a search from the journal, by the arm's name.

    Args:
        results: the results of the study.

    Returns:
        The studies with at least one trial, without those of peers, which search one number.
    """
    path = results.folder.path / "optuna.journal"
    # The backend creates a missing file, and reading must not leave one behind.
    if not path.is_file():
        return {}
    try:
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(path))
        )
    except Exception as error:  # any kind: Optuna does not check what it reads
        logger.warning("%s is damaged (%s); importances are not drawn", path, error)
        return {}
    searched = [trial for trial in results.stage("search") if trial.settings.peer is None]
    arms = {trial.arm for trial in searched if trial.proposed}
    return {
        arm: study
        for arm in sorted(arms.intersection(optuna.get_all_study_names(storage)))
        if (study := optuna.load_study(study_name=arm, storage=storage)).trials
    }
