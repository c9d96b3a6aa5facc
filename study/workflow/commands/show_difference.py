"""The command ``diff``: two rows of a leaderboard, class by class or image by image."""

from argparse import ArgumentParser, Namespace

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_json, add_storage, add_study


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_study(parser)
    parser.add_argument("one", metavar="ONE", help="the label of a row, such as best")
    parser.add_argument("other", metavar="OTHER", help="that of another, such as clipfit-tuned")
    add_storage(parser)
    parser.add_argument(
        "--format",
        choices=("table", "csv"),
        default="table",
        help="table: a row per class; csv: a row per image that they label differently",
    )
    add_json(parser)


def show_difference(options: Namespace) -> None:
    """Print where two candidates differ on test, class by class, or image by image as CSV.

    Raises:
        StudyError: the study cannot be read, or a candidate was not tested.
    """
    with slow_imports():
        from study.report.difference_tables import difference_record, difference_tables
        from study.results.study_results import read_results
        from study.workflow.json_documents import Difference, print_document
    results = read_results(options.folder.path)
    if options.json:
        print_document(Difference, difference_record(results, options.one, options.other))
        return
    classes, images = difference_tables(results, options.one, options.other)
    if options.format == "csv":
        print(images.csv(), end="")
    else:
        options.console.print(classes, classes.note)
