"""The labels to check, as CSV, as a table of the first, and in sentences."""

from collections.abc import Iterable, Sequence

from study.report.formatting import Table, csv_text, spreadsheet_path
from study.report.sentences import sentences
from study.results.label_check import DoubtedLabel, LabelCheck

LABELS = "labels.csv"
"""The file of the labels to check, in the folder of a study."""
FEW = 10
"""The largest number of labels that a terminal shows."""


def labels_csv(doubted: Iterable[DoubtedLabel]) -> str:
    """Return the labels to check as CSV, with a column for each field of `DoubtedLabel`.

    Class names are not changed, as in the other CSV files.
    """
    rows = [label._replace(path=spreadsheet_path(label.path)) for label in doubted]
    return csv_text([DoubtedLabel._fields, *rows])


def labels_table(doubted: Sequence[DoubtedLabel]) -> Table:
    """Return the first of the labels to check."""
    rows = [[*label[:3], label.agreement] for label in doubted[:FEW]]
    return Table("", ["path", "given", "suggested", "models"], rows, left=3)


def describe_check(check: LabelCheck | None) -> str:
    """Return in words how many labels are doubtful, and by which models; empty without a check."""
    return " ".join(sentences("report/label_check", check=check))
