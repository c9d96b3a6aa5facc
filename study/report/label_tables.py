"""The labels to check, as CSV and in a sentence."""

from collections.abc import Iterable

from study.process.terminal_table import amount
from study.report.formatting import csv_text, format_count, percent, spreadsheet_path
from study.results.label_check import LabelCheck, MislabelledImage

LABELS = "labels.csv"
"""The file of the labels to check, in the folder of a study."""


def labels_csv(images: Iterable[MislabelledImage]) -> str:
    """Return the labels to check as CSV, with a column for each field of `MislabelledImage`.

    Class names are not changed, as in the other CSV files.
    """
    rows = [label._replace(path=spreadsheet_path(label.path)) for label in images]
    return csv_text([MislabelledImage._fields, *rows])


def describe_check(check: LabelCheck | None) -> str:
    """Return how many labels are likely wrong, and by which models; empty without a check."""
    if check is None:
        return ""
    return (
        f"{format_count(len(check.likely_mislabelled))} of {amount(check.images, 'label')} of "
        "training images are likely wrong. Models of the best configuration that had not seen an "
        f"image scored it; they predict {percent(check.right)} % of these labels as they are "
        "given. A search without folds of images scores validation shots alone."
    )
