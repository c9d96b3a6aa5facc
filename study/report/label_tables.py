"""The training images that are likely mislabelled, as a table, as CSV and in a sentence."""

from collections.abc import Iterable

from study.report.formatting import format_count, percent
from study.report.tables import Table, csv_text, spreadsheet_path
from study.report.terminal import amount
from study.results.label_check import LabelCheck, MislabelledImage

LABELS = "labels.csv"
"""The file of the labels to check, in the folder of a study."""
_MOST = 24
"""The most images in the table."""


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
        for image in check.likely_mislabelled[:_MOST]
    ]
    header = ["image", "given", "suggested", "probability of the given, %"]
    note = f"The least probable labels come first; {LABELS} has all of them."
    return Table("Likely mislabelled", header, rows, left=3, note=note)


def describe_check(check: LabelCheck) -> str:
    """Return how many labels are likely wrong, and how right the models are that found them."""
    number = format_count(len(check.likely_mislabelled))
    return (
        f"{number} of {amount(check.images, 'training image')} are likely mislabelled, by models "
        "of the best configuration that had not seen them and that are right on "
        f"{percent(check.right)} % of images."
    )
