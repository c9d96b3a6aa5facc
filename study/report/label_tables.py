"""The training images that are likely mislabelled, as CSV and in a sentence."""

from collections.abc import Iterable

from study.process.terminal_table import amount
from study.report.formatting import csv_text, format_count, percent, spreadsheet_path
from study.results.label_check import LabelCheck, MislabelledImage

LABELS = "labels.csv"
"""The file of the labels to check, in the folder of a study."""


def labels_csv(doubted: Iterable[MislabelledImage]) -> str:
    """Return the labels to check as CSV, with a column for each field of `MislabelledImage`.

    Class names are not changed, as in the other CSV files.
    """
    rows = [label._replace(path=spreadsheet_path(label.path)) for label in doubted]
    return csv_text([MislabelledImage._fields, *rows])


def describe_check(check: LabelCheck | None) -> str:
    """Return how many labels are likely wrong, and by which models; empty without a check."""
    if check is None:
        return ""
    number = format_count(len(check.likely_mislabelled))
    return (
        f"{number} of {amount(check.images, 'training image')} are likely "
        "mislabelled, by models of the best configuration that had not seen them and that "
        f"are right on {percent(check.right)} % of images."
    )
