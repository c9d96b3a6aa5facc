"""What the test images of each class are taken for: tables of classes and confusions, heat maps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from study.report.charts import Chart, draw_bars, draw_shares, name_axis
from study.report.formatting import format_count, percent
from study.report.tables import Table
from study.report.verdict import best_name
from study.results.statistics import Interval, MeanInterval
from study.results.study_result import StudyResult

MOST_CONFUSIONS = 12
"""The largest number of rows in the table of confusions."""
MOST_RECALLS = 20
"""The largest number of classes in the chart of recalls."""
MOST_MAPPED = 40
"""The largest number of classes in a heat map, whose names can still be read."""
_NAME_LENGTH = 24
"""The most characters of a name along an axis."""


def class_accuracy_table(board: StudyResult) -> Table:
    """Return the images of each class, and the accuracy on it before and after tuning."""
    classes = board.classes
    rows = []
    for row in classes.rows:
        interval = _shown_interval(row.recall)
        ends = f"{percent(interval.low)} to {percent(interval.high)}" if interval else None
        cells = [row.name, row.part, row.trained, row.tested, percent(row.before)]
        rows.append([*cells, percent(row.after), ends])
    header = ["class", "part", "trained on", "tested on", "zero-shot %", "tuned %", "95 %"]
    tested = f"{format_count(sum(row.tested for row in classes.rows))} test images"
    if classes.trained_images is not None:
        tested = f"{format_count(classes.trained_images)} training images and {tested}"
    note = (
        f"The {best_name(board)} (“tuned”), with {tested} a seed: means over seeds, the worst "
        f"classes first, with 95 % intervals over {_source_of_intervals(board)}."
    )
    return _without_single_part(Table("", header, rows, left=2, note=note))


def confusion_table(board: StudyResult) -> Table:
    """Return the most frequent confusions."""
    rows = []
    for pair in board.classes.confused[:MOST_CONFUSIONS]:
        row = [pair.true, pair.predicted, pair.part, pair.count]
        rows.append([*row, percent(pair.before), percent(pair.after)])
    header = ["images of", "taken for", "part", "answers", "zero-shot %", "tuned %"]
    note = "Answers of all seeds, and the share of the images of a class that they are."
    return _without_single_part(Table("Most frequent confusions", header, rows, left=3, note=note))


def _without_single_part(table: Table) -> Table:
    """Return the table without the column of parts, if that is the same in every row."""
    column = table.header.index("part")
    if len({row[column] for row in table.rows}) > 1:
        return table
    header = [name for name in table.header if name != "part"]
    rows = [[*row[:column], *row[column + 1 :]] for row in table.rows]
    return replace(table, header=header, rows=rows, left=table.left - 1)


def recall_chart(board: StudyResult) -> Chart:
    """Draw the recall of each class, the worst first, with its interval."""
    classes = sorted(board.classes.rows, key=lambda row: (row.after, row.part, row.name))
    worst = classes[:MOST_RECALLS][::-1]  # the first row is to be at the top
    several = len({row.part for row in classes}) > 1
    intervals = [_shown_interval(row.recall) or (row.after, row.after) for row in worst]
    recalls = [100 * row.after for row in worst]
    below = [100 * (row.after - low) for row, (low, _) in zip(worst, intervals, strict=True)]
    above = [100 * (high - row.after) for row, (_, high) in zip(worst, intervals, strict=True)]
    names = []
    for row in worst:
        part = f" ({row.part})" if several else ""
        names.append(f"{_short_names([row.name])[0]}{part} {percent(row.after)} %")

    def paint(axes: Any) -> None:
        draw_bars(axes, recalls, xerr=(below, above))
        axes.set_xlabel("recall, %")
        name_axis(axes, "y", names)

    others = len(classes) - len(worst)
    left_out = f" The other {others} are in the table of classes." if others else ""
    return Chart(
        "recalls",
        "Recall of each class, worst first",
        f"Mean over seeds, with 95 % intervals over {_source_of_intervals(board)}.{left_out}",
        [paint] if worst else [],
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
    ranks = {name: rank for rank, name in enumerate(board.classes.order)}
    several = len(shares_by_part) > 1
    charts = []
    for number, (part, shares) in enumerate(shares_by_part.items(), start=1):
        true_classes = {true for true, _ in shares}
        predicted = true_classes | {name for _, name in shares}
        rows, columns = (
            sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name))
            for names in (true_classes, predicted)
        )
        rows.reverse()  # the first is to be at the top

        def paint(
            axes: Any,
            shares: Mapping[tuple[str, str], float] = shares,
            rows: list[str] = rows,
            columns: list[str] = columns,
        ) -> None:
            draw_shares(axes, shares, rows, columns)
            axes.set(xlabel="taken for", ylabel="class")
            name_axis(axes, "x", _short_names(columns))
            name_axis(axes, "y", _short_names(rows))

        chart = Chart(
            f"confusion-{number}" if several else "confusion",
            "What test images are taken for" + (f", part “{part}”" if several else ""),
            "The share of each row’s test images in percent, over all seeds. Blue is right, red is "
            "wrong; the colour grows with the root of the share.",
            [paint] if len(columns) <= MOST_MAPPED else [],
            reason_if_empty=f"more than {MOST_MAPPED} classes; the table has the most frequent",
            width=min(9.5, 2.4 + 0.36 * len(columns)),
            height=min(12.0, 2.0 + 0.27 * len(rows)),
        )
        charts.append(chart)
    return charts


def _short_names(names: Sequence[str]) -> list[str]:
    """Return the names along an axis, cut where they are long."""
    cut = _NAME_LENGTH - 1
    return [f"{name[:cut]}…" if len(name) > _NAME_LENGTH else name for name in names]
