"""The chart of how much each searched parameter explains of the scores of a search."""

from study.process.terminal_table import amount
from study.report.arms import arm_name
from study.report.charts import BAR_HEIGHT, Axis, Chart, Panel, Series
from study.report.site_descriptions import choices_in_words
from study.results.importance import METHODS, MIN_TRIALS, Importances

TRUSTED_TRIALS = 50
"""The fewest finished trials for which a caption does not warn that importances are noisy."""
NOTHING_VARIES = "no parameter varies in enough finished trials"


def importance_chart(arm: str, found: Importances, color: str, *, stopped: int = 0) -> Chart:
    """Draw how much of the spread of an arm's scores each parameter explains, in percent.

    Args:
        arm: the name of the arm.
        found: the importances of its parameters.
        color: the colour of the arm, which is paler for the second method.
        stopped: the number of the arm's trials that were stopped early; none of them is counted in
            an importance, since they have no final score.
    """
    missing, first = _missing(found), found.shares.get(METHODS[0], {})
    order = sorted(first, key=lambda parameter: first[parameter])
    series = tuple(
        Series(
            method,
            [100 * shares.get(parameter, 0.0) for parameter in order],
            [row + shift * BAR_HEIGHT for row in range(len(order))],
            style="bars",
            color=color,
            opacity=opacity,
        )
        for (method, shares), opacity, shift in zip(
            found.shares.items(), (0.9, 0.4), (0.5, -0.5), strict=False
        )
    )
    if stopped:
        missing += f"; {amount(stopped, 'trial')} stopped early"
    return Chart(
        f"importance-{arm}",
        f"Parameter importance: {arm_name(arm)}",
        _caption(found.trials, stopped) + choices_in_words(order),
        (Panel(Axis("share of the spread, %"), Axis("", names=order), series),),
        otherwise=missing,
        width=6.5,
        height=1.4 + 0.35 * len(order),
    )


def _missing(found: Importances) -> str:
    """Return why there are no importances, where there are none."""
    if found.too_few:
        return f"needs {MIN_TRIALS} finished trials, has {found.finished}"
    if found.error is not None:
        return f"Optuna cannot tell importances of these trials ({found.error})"
    return NOTHING_VARIES


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
