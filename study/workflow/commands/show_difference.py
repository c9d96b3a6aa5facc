"""The command ``diff``: two rows of a leaderboard, class by class or image by image."""

from argparse import Namespace

from study.process.terminal_table import print_csv
from study.report.difference_tables import difference_record, difference_tables
from study.results.study_results import read_results
from study.workflow.json_documents import print_document


def show_difference(options: Namespace) -> None:
    """Print where two candidates differ on test, class by class, or image by image as CSV.

    Raises:
        StudyError: the study cannot be read, or a candidate was not tested.
    """
    results = read_results(options.folder.path)
    if options.json:
        print_document(difference_record(results, options.one, options.other))
        return
    classes, images = difference_tables(results, options.one, options.other)
    if options.format == "csv":
        print_csv(images.csv())
    else:
        options.console.print(classes, classes.note)
