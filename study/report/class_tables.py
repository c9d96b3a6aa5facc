"""Predictions by class: tables of classes, confusions and labels to check, and a chart."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from study.report.charts import Chart, draw_bars, in_percent, name_axis
from study.report.formatting import format_count, percent
from study.report.tables import Table, csv_text, spreadsheet_path
from study.report.terminal import amount
from study.report.verdict import best_name
from study.results.label_check import LabelCheck, MislabelledImage
from study.results.statistics import Interval, MeanInterval
from study.results.study_result import StudyResult

MOST_CONFUSIONS = 12
"""The largest number of rows in the table of confusions."""
MOST_RECALLS = 20
"""The largest number of classes in the chart of recalls."""
LABELS = "labels.csv"
"""The file of the labels to check, in the folder of a study."""
_MOST_LABELS = 24
"""The most images in the table of the labels to check."""
_NAME_LENGTH = 24
"""The most characters of a name along an axis."""


def class_accuracy_table(result: StudyResult) -> Table:
    """Return the images of each class, and the accuracy on it before and after tuning."""
    classes = result.classes
    rows = []
    for row in classes.rows:
        interval = _shown_interval(row.recall)
        ends = f"{percent(interval.low)} to {percent(interval.high)}" if interval else None
        cells = [row.name, row.part, row.trained, row.tested, percent(row.before)]
        rows.append([*cells, percent(row.after), ends])
    header = ["class", "part", "trained on", "tested on", "zero-shot %", "tuned %", "95 % interval"]
    tested = f"{format_count(sum(row.tested for row in classes.rows))} test images"
    if any(row.trained is not None for row in classes.rows):
        trained = sum(row.trained or 0 for row in classes.rows)
        tested = f"{format_count(trained)} training images and {tested}"
    note = (
        f"“Tuned” is the {best_name(result)}, with {tested} per seed. Scores are means over seeds, "
        f"the worst first, with 95 % intervals over {_source_of_intervals(result)}."
    )
    return _without_single_part(Table("", header, rows, left=2, note=note))


def confusion_table(result: StudyResult) -> Table:
    """Return the most frequent confusions."""
    rows = []
    for pair in result.classes.confused[:MOST_CONFUSIONS]:
        row = [pair.true, pair.predicted, pair.part, pair.count]
        rows.append([*row, percent(pair.before), percent(pair.after)])
    header = ["true class", "predicted", "part", "predictions", "zero-shot %", "tuned %"]
    note = "Predictions of all seeds, and their share of the images of the true class."
    return _without_single_part(Table("Most frequent confusions", header, rows, left=3, note=note))


def _without_single_part(table: Table) -> Table:
    """Return the table without the column of parts, if that is the same in every row."""
    column = table.header.index("part")
    if len({row[column] for row in table.rows}) > 1:
        return table
    others = [index for index in range(len(table.header)) if index != column]
    return replace(table, left=table.left - 1).with_columns(others)


def recall_chart(result: StudyResult) -> Chart:
    """Draw the recall of each class, the worst first, with its interval."""
    classes = sorted(result.classes.rows, key=lambda row: (row.after, row.part, row.name))
    worst = classes[:MOST_RECALLS][::-1]  # the first row is to be at the top
    several = len({row.part for row in classes}) > 1
    recalls, errors = in_percent((row.after, _shown_interval(row.recall)) for row in worst)
    names = []
    for row in worst:
        part = f" ({row.part})" if several else ""
        name = row.name if len(row.name) <= _NAME_LENGTH else f"{row.name[: _NAME_LENGTH - 1]}…"
        names.append(f"{name}{part} {percent(row.after)} %")

    def paint(axes: Any) -> None:
        draw_bars(axes, recalls, xerr=errors)
        axes.set_xlabel("recall, %")
        name_axis(axes, "y", names)

    others = len(classes) - len(worst)
    left_out = f" The table of classes contains the other {others}." if others else ""
    return Chart(
        "recalls",
        "Recall of each class, worst first",
        f"Mean over seeds, with 95 % intervals over {_source_of_intervals(result)}.{left_out}",
        [paint] if worst else [],
        reason_if_empty="predictions for single test images were not kept",
        width=4.0,
        height=0.8 + 0.21 * len(names),
    )


def _shown_interval(recall: MeanInterval | None) -> Interval | None:
    """Return the interval of a mean recall; with a single seed, that over test images alone."""
    return recall.interval or recall.images if recall else None


def _source_of_intervals(result: StudyResult) -> str:
    """Return what the intervals of classes are over, in words."""
    recalls = [row.recall for row in result.classes.rows if row.recall]
    if all(_shown_interval(recall) == recall.images for recall in recalls):
        return "test images alone"
    return "seeds and test images"


def labels_csv(images: Iterable[MislabelledImage]) -> str:
    """Return the labels to check as CSV, with a column for each field of `MislabelledImage`.

    Class names are not changed, as in the other CSV files.
    """
    rows = [image._replace(path=spreadsheet_path(image.path)) for image in images]
    return csv_text([MislabelledImage._fields, *rows])


def label_table(check: LabelCheck) -> Table:
    """Return the images whose labels are the least probable."""
    rows = [
        [image.path, image.given, image.suggested, percent(image.confidence)]
        for image in check.likely_mislabelled[:_MOST_LABELS]
    ]
    header = ["image", "label", "suggested", "probability of the label, %"]
    note = f"The least probable labels come first; {LABELS} contains all of them."
    return Table("Likely mislabelled", header, rows, left=3, note=note)


def describe_check(check: LabelCheck) -> str:
    """Return how many labels are likely wrong, and the accuracy of the models that found them."""
    images, accuracy = amount(check.images, "training image"), f"{percent(check.accuracy)} %"
    if not check.reliable:
        return (
            f"On {images} that they were not trained on, models of the best configuration are "
            f"right for only {accuracy}, too few to find wrong labels."
        )
    return (
        f"{format_count(len(check.likely_mislabelled))} of {images} are likely mislabelled. They "
        "were found by models of the best configuration that were not trained on them; these "
        f"models classify {accuracy} of images correctly."
    )
