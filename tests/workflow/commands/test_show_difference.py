"""The command ``diff``."""

from pathlib import Path

from study.report.difference_tables import difference_tables
from study.results.study_results import read_results
from tests.workflow.conftest import Run


def test_rows_are_compared_by_class_or_by_image(predicted: Path, run: Run):
    classes, images = difference_tables(read_results(predicted), "best", "clipfit-tuned")
    words = ("diff", predicted, "best", "clipfit-tuned")
    assert classes.note in " ".join(run(*words).out.split())
    assert run(*words, "--format", "csv").out == images.csv()
