"""The command ``reproduce``: published results once more, in a folder that can be sent."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_settings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="write all results here, or go on with those that are there (default: results)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="FOLDER",
        help="the datasets; what is missing and public is fetched into it (default: data)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny data, random weights and the embedded model: shows that it works, measures "
        "nothing",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="run this part alone, such as base_to_new, benchmark, search; may be repeated",
    )
    parser.add_argument(
        "--read",
        type=Path,
        metavar="FOLDER",
        help="check the files of such a folder, and print its figures beside the published ones",
    )
    add_settings(parser, "key=value", "settings of all studies, which are then not as published")


def reproduce_paper(options: Namespace) -> None:
    """Run what the paper reports, or print a folder of such results.

    Raises:
        StudyError: something could not be run, or a file is not what reproduce wrote.
    """
    with slow_imports():
        from study.workflow.reproduction.reproduce import print_results, reproduce
    if options.read is not None:
        print_results(options.read, options.console)
    else:
        reproduce(options)
