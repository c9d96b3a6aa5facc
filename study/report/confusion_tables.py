"""What the test images of each class are taken for: tables of classes and confusions, heat maps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from study.report.charts import MANY_NAMES, Axis, Chart, Panel, Series, cell_series
from study.report.formatting import HoverText, Table, percent, points
from study.report.sentences import sentences
from study.results.statistics import Interval, MeanInterval
from study.results.study_result import StudyResult

CONFUSION = "confusion"
"""The prefix of the names of heat maps."""
MOST_CONFUSIONS = 12
"""The largest number of rows in the table of confusions."""
MOST_RECALLS = 20
"""The largest number of classes in the chart of recalls."""
MOST_MAPS = 4
"""The largest number of parts of the test images that have a heat map."""
NAMED_ROWS, NAMED_COLUMNS = 150, 40
"""The largest numbers of classes whose names stand beside and below a heat map."""
_NAME_LENGTH = 24
"""The most characters of a name beside a heat map."""


def class_accuracy_table(board: StudyResult) -> Table:
    """Return the images of each class, and the accuracy on it before and after tuning."""
    classes = board.classes
    rows = []
    for accuracy in classes.rows:
        interval = _shown_interval(accuracy.recall)
        ends = "–"
        if interval:
            ends = f"{percent(interval.low)} to {percent(interval.high)}"
        before = percent(accuracy.before)
        after = percent(accuracy.after)
        gain = None if accuracy.gain is None else points(accuracy.gain)
        numbers = accuracy.trained, accuracy.tested, before, after, ends, gain
        rows.append([accuracy.name, accuracy.part, *numbers])
    table = Table(
        "",
        [
            "class",
            "part",
            "trained on",
            "tested on",
            "zero-shot %",
            "best %",
            "95 %",
            "gain",
        ],
        rows,
        left=2,
        note=" ".join(
            sentences(
                "report/class_accuracies",
                classes=classes,
                source=_source_of_intervals(board),
            )
        ),
    )
    return table.without_constant("part")


def confusion_table(board: StudyResult) -> Table:
    """Return the most frequent confusions."""
    rows = [
        [
            pair.true,
            pair.predicted,
            pair.part,
            pair.count,
            percent(pair.before),
            percent(pair.after),
        ]
        for pair in board.classes.confused[:MOST_CONFUSIONS]
    ]
    table = Table(
        "Most frequent confusions",
        ["images of", "taken for", "part", "answers", "zero-shot %", "best %"],
        rows,
        left=3,
        note="Answers of all seeds, and the share of the images of a class that they are.",
    )
    return table.without_constant("part")


def recall_chart(board: StudyResult) -> Chart:
    """Draw the recall of each class, the worst first, with its interval."""
    accuracies = sorted(board.classes.rows, key=lambda row: (row.after, row.part, row.name))
    worst = accuracies[:MOST_RECALLS][::-1]  # the first row is to be at the top
    parts = {row.part for row in accuracies}
    names, recalls, below, above = [], [], [], []
    for row in worst:
        (name,) = _axis_names([row.name], 1)
        part = f" ({row.part})" if len(parts) > 1 else ""
        hover = f"{row.tested} test images"
        interval = _shown_interval(row.recall)
        low, high = interval or (row.after, row.after)
        if interval:
            hover += f"; 95 % interval {percent(low)} to {percent(high)} %"
        names.append(HoverText(f"{name}{part} {percent(row.after)} %", hover))
        recalls.append(100 * row.after)
        below.append(100 * (row.after - low))
        above.append(100 * (high - row.after))
    bars = Series("recall", recalls, range(len(names)), style="bars", x_error=(below, above))
    others = len(accuracies) - len(worst)
    left_out = f"The other {others} are in the table of classes. " if others else ""
    return Chart(
        "recalls",
        "Recall of each class, worst first",
        f"{left_out}Of the best configuration, mean over seeds on test images, with 95 % "
        f"intervals over {_source_of_intervals(board)}.",
        [Panel(Axis("recall, %"), Axis("", names=names), [bars])],
        reason_if_empty="no prediction of single test images was kept",
        width=4.0,
        height=0.8 + 0.21 * len(names),
    )


def _shown_interval(recall: MeanInterval | None) -> Interval | None:
    """Return the interval of a mean recall; with a single seed, that over test images alone."""
    if recall is None:
        return None
    if recall.low is None or recall.high is None:
        return recall.images
    return Interval(recall.low, recall.high)


def _source_of_intervals(board: StudyResult) -> str:
    """Return what the intervals of classes are over, in words."""
    if any(row.recall and row.recall.errors for row in board.classes.rows):
        return "seeds and test images"
    return "test images alone"


def confusion_charts(board: StudyResult) -> list[Chart]:
    """Draw what the choice takes the test images of each class for, a heat map for each part."""
    shares_by_part: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in board.classes.rows:
        shares_by_part[row.part][row.name, row.name] = row.after
    for pair in board.classes.confused:
        shares_by_part[pair.part][pair.true, pair.predicted] = pair.after
    class_order = board.classes.order
    charts = []
    drawn_parts = list(shares_by_part)[:MOST_MAPS]
    for number, part in enumerate(drawn_parts, start=1):
        chart = _heat_map(shares_by_part[part], class_order)
        if len(shares_by_part) > 1:
            title = f"{chart.title}, part “{part}”"
            chart = replace(chart, name=f"{CONFUSION}-{number}", title=title)
        charts.append(chart)
    return charts


def _heat_map(shares: Mapping[tuple[str, str], float], class_order: Sequence[str]) -> Chart:
    """Draw the share of the images of each class that are taken for each class.

    Args:
        shares: the shares, as fractions, by the true and the predicted class.
        class_order: the classes in the order of the dataset; others follow by name.
    """
    ranks = {name: rank for rank, name in enumerate(class_order)}

    def rank_of(name: str) -> tuple[Any, ...]:
        return ranks.get(name, len(ranks)), name

    true_classes = {true for true, _ in shares}
    predicted_classes = {predicted for _, predicted in shares}
    # The first row is to be at the top.
    rows = sorted(true_classes, key=rank_of, reverse=True)
    columns = sorted(true_classes | predicted_classes, key=rank_of)
    values = {}
    for (true, predicted), share in shares.items():
        sign = 1 if true == predicted else -1
        values[predicted, true] = sign * 100 * share
    panel = Panel(
        Axis("taken for", names=_axis_names(columns, NAMED_COLUMNS)),
        Axis("class", names=_axis_names(rows, NAMED_ROWS)),
        [cell_series("shares", values, columns, rows, style="shares")],
    )
    caption = (
        "A row for each class, a column for what its images are taken for: the share of the "
        "row’s test images in percent, over all seeds of the best configuration. Blue is right, "
        "red is wrong; the colour grows with the root of the share, so that few mistakes are seen "
        "too."
    )
    if len(columns) > NAMED_COLUMNS:
        caption += " Columns are in the order of the rows."
    if len(columns) > MANY_NAMES:
        caption += " The largest shares stand in the table of confusions."
    return Chart(
        CONFUSION,
        "What test images are taken for",
        caption,
        [panel],
        reason_if_empty="no prediction was kept",
        width=min(9.5, 2.4 + 0.36 * len(columns)),
        height=min(12.0, 2.0 + 0.27 * len(rows)),
    )


def _axis_names(names: Sequence[str], most: int) -> list[str]:
    """Return the names along an axis, cut where they are long, and empty if they are too many."""
    if len(names) > most:
        return [""] * len(names)
    cut = _NAME_LENGTH - 1
    return [f"{name[:cut]}…" if len(name) > _NAME_LENGTH else name for name in names]
