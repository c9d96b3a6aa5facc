"""The chart of how much each searched parameter explains of the scores of a search."""

from study.process.terminal_table import amount
from study.report.arms import arm_name
from study.report.charts import BAR_HEIGHT, Axis, Chart, Panel, Series
from study.report.sentences import sentences
from study.report.site_descriptions import choices_in_words
from study.results.importance import METHODS, MIN_TRIALS, Importances

TRUSTED_TRIALS = 50
"""The fewest finished trials for which a caption does not warn that importances are noisy."""
NOTHING_VARIES = "no parameter varies in enough finished trials"
_LOOKS = ((0.9, 0.5), (0.4, -0.5))
"""The opacity of the bars of each method, and their shift from their row in bar heights."""


def importance_chart(arm: str, importances: Importances, color: str, *, stopped: int = 0) -> Chart:
    """Draw how much of the spread of an arm's scores each parameter explains, in percent.

    Args:
        arm: the name of the arm.
        importances: the importances of its parameters.
        color: the colour of the arm, which is paler for the second method.
        stopped: the number of the arm's trials that were stopped early; none of them is counted in
            an importance, since they have no final score.
    """
    first = importances.shares.get(METHODS[0], {})
    parameters = sorted(first, key=lambda parameter: first[parameter])
    series = []
    for (method, shares), (opacity, shift) in zip(importances.shares.items(), _LOOKS, strict=False):
        percents = [100 * shares.get(parameter, 0.0) for parameter in parameters]
        ys = [row + shift * BAR_HEIGHT for row in range(len(parameters))]
        series.append(Series(method, percents, ys, style="bars", color=color, opacity=opacity))
    reason = _reason_without_importances(importances)
    if stopped:
        reason += f"; {amount(stopped, 'trial')} stopped early"
    (caption,) = sentences(
        "report/importance",
        importances=importances,
        stopped=stopped,
        trusted=TRUSTED_TRIALS,
        parameters=parameters,
        choices_in_words=choices_in_words,
    )
    return Chart(
        f"importance-{arm}",
        f"Parameter importance: {arm_name(arm)}",
        caption,
        [Panel(Axis("share of the spread, %"), Axis("", names=parameters), series)],
        reason_if_empty=reason,
        width=6.5,
        height=1.4 + 0.35 * len(parameters),
    )


def _reason_without_importances(importances: Importances) -> str:
    """Return the reason that a chart without importances gives."""
    if importances.finished < MIN_TRIALS:
        return f"needs {MIN_TRIALS} finished trials, has {importances.finished}"
    if importances.error is not None:
        return f"Optuna cannot tell importances of these trials ({importances.error})"
    return NOTHING_VARIES
