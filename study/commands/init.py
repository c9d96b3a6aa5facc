"""The command ``init``: a commented configuration for a folder or table of images."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.ctrl_c import exit_at_ctrl_c

HELP = "look at a folder of images, and write a configuration for it"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the images, values for the file, its path and ``--estimate``."""
    parser.add_argument(
        "images", metavar="FOLDER", help="a folder with a folder for each class, or a table"
    )
    parser.add_argument(
        "values",
        nargs="*",
        default=[],
        metavar="key=value",
        help="values for the file, such as data.shots=4; the others follow",
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


def run(options: Namespace) -> None:
    """Write a configuration for the images of a folder or table, and print how to run it.

    Raises:
        StudyError: the file is there already, the checkpoint cannot be had, or the images cannot
            be read or are too few.
    """
    with exit_at_ctrl_c():
        from study.commands.suited_values import write_configuration
    write_configuration(options.images, options.values, out=options.out, measure=options.estimate)
