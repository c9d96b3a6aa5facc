"""The chart of the relative weights of the parameters of a search."""

from study.process.terminal_table import amount
from study.report.charts import Axis, Chart, Panel, Series
from study.report.groups import group_name
from study.report.sentences import sentences
from study.report.site_descriptions import choices_in_words
from study.results.importance import MIN_TRIALS, Importances

TRUSTED_TRIALS = 50
"""The fewest finished trials for which a caption does not warn that importances are noisy."""
NOTHING_VARIES = "no parameter varies in enough finished trials"


def importance_chart(
    group: str, importances: Importances, color: str, *, stopped: int = 0
) -> Chart:
    """Draw the relative weights of the parameters of a group, in percent.

    Args:
        group: the name of the group.
        importances: the importances of its parameters.
        color: the colour of the group.
        stopped: the number of the group's trials that were stopped early; none of them is counted
            in an importance, since they have no final score.
    """
    weights = importances.weights
    parameters = sorted(weights, key=lambda parameter: weights[parameter])
    series = []
    if parameters:
        percents = [100 * weights[parameter] for parameter in parameters]
        rows = range(len(parameters))
        series.append(Series("fANOVA", percents, rows, style="bars", color=color, opacity=0.9))
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
        f"importance-{group}",
        f"Parameter importance: {group_name(group)}",
        caption,
        [Panel(Axis("relative weight, %"), Axis("", names=parameters), series)],
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
