"""The command ``leaderboard``: test scores of studies, or the best of a tracking server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.slow_imports import slow_imports
from study.workflow.arguments import STUDY_HELP, add_json


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME | storage=FOLDER",
        help=f"{STUDY_HELP}; the folder that has the studies (default: $STUDY_STORAGE, else runs)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="write the tables of a sweep, or the files of an ablation, into this folder",
    )
    parser.add_argument("--base", metavar="CELL", help="the cell to compare with (default: base)")
    parser.add_argument(
        "--study",
        metavar="NAME",
        help="without NAME above: of this study alone, as MLflow has it",
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="without NAME above: of the runs that meet a condition of MLflow, such as "
        "\"params.dataset = 'digits'\"",
    )
    parser.add_argument(
        "--top", type=int, default=10, help="without NAME above: how many (default: 10)"
    )
    parser.add_argument(
        "--format",
        choices=("csv", "json", "markdown", "table", "yaml"),
        default="table",
        help="of a study or an ablation: table, markdown, csv, json; "
        "without NAME: table, json, or yaml, a configuration for `run` whose baselines are the "
        "listed ones (default: table)",
    )
    add_json(parser)


def show_leaderboard(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    with slow_imports():
        from study.workflow.leaderboard_views import print_leaderboard
    print_leaderboard(options)
