"""The command ``labels``: training images whose label is to be checked."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_json, add_storage, add_study


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_study(parser)
    add_storage(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="write CSV here (default: labels.csv in the study's folder)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="also score the training images that no trial drew, by the model that ships",
    )
    add_json(parser)


def show_labels(options: Namespace) -> None:
    """List the labels that the trials of a study doubt.

    Raises:
        StudyError: the study has scored no label, or an option or a file cannot be used.
    """
    with slow_imports():
        from study.workflow.label_listing import list_doubted_labels
    list_doubted_labels(options)
