"""The command ``init``: a configuration for one's own images."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_settings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "images", metavar="FOLDER", help="a folder with a folder for each class, or a table"
    )
    add_settings(
        parser, "key=value", "values for the file, such as data.other=class; the others follow"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("study.yaml"),
        metavar="FILE.yaml",
        help="a new file (default: study.yaml)",
    )
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="measure training steps with the backbone, for the minutes of the search",
    )


def init_study(options: Namespace) -> None:
    """Look at images, write a commented configuration for them, and print how to run it.

    Raises:
        StudyError: the file is there already, or the images cannot be read or are too few.
    """
    with slow_imports():
        from study.workflow.new_configuration import write_configuration
    write_configuration(options)
