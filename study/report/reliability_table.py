"""The table and the chart of how well probabilities fit what is right."""

from collections.abc import Sequence

from study.report.charts import GREY, Axis, Chart, Panel, Series
from study.report.formatting import Table, percent
from study.results.reliability import Calibration

ONE_TEMPERATURE = (
    "One temperature divides all logits. It was fitted on images that the folds left out, and "
    "changes no answer. A temperature that suits trained classes need not suit others."
)

RIGHT_AXIS = Axis("right, %")


def reliability_table(found: Sequence[Calibration]) -> Table:
    """Return the likelihoods and calibration errors without and with the temperature."""
    header = ["test images", "NLL", "NLL with temperature", "ECE %", "ECE % with temperature"]
    rows = [
        [
            one.part,
            f"{one.before.likelihood:.3f}",
            f"{one.after.likelihood:.3f}",
            percent(one.before.error),
            percent(one.after.error),
        ]
        for one in found
    ]
    return Table("Probabilities of the model that ships", header, rows, left=1)


def reliability_chart(found: Sequence[Calibration]) -> Chart:
    """Draw the share of images that are right against their probability, for each part."""
    panels = []
    for one in found:
        series = [Series("as it should be", [0, 100], [0, 100], style="line", color=GREY)]
        for name, marker, fit in (("without", "x", one.before), ("with", "circle", one.after)):
            series.append(
                Series(
                    f"{name} temperature",
                    [100 * each.probability for each in fit.bins],
                    [100 * each.right for each in fit.bins],
                    marker=marker,
                )
            )
        panels.append(Panel(Axis(f"probability of the answer, {one.part}, %"), RIGHT_AXIS, series))
    return Chart(
        "reliability",
        "Reliability of probabilities",
        "The share of test images that are right among those with about the same probability. "
        f"{ONE_TEMPERATURE}",
        panels,
        reason_if_empty="what ships has no temperature",
    )
