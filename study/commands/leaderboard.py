"""The command ``leaderboard``: of a study, an ablation, a sweep, or all studies of a folder."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.commands.arguments import add_json
from study.commands.console import output_console, print_json
from study.errors import ConfigError, DataError

HELP = (
    "print a study's test scores, an ablation's cells, or a sweep's tables beside published "
    "averages (several NAMEs); without NAME, print the best configurations of all studies"
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add studies, how many configurations to print without any, and the form of the output."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="the name of a study, or the path to its folder, where its tables are kept as CSV and "
        "Markdown",
    )
    parser.add_argument("--all", action="store_true", help="print all tables instead of one screen")
    parser.add_argument(
        "--top",
        type=int,
        default=10,
        help="without NAME: the number of configurations per dataset (default: 10)",
    )
    add_json(parser)


def run(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of all studies.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    from study.commands.find import find_study

    folders = [find_study(name, options.storage).path for name in options.names]
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; expected 1 or more")
    if not folders:
        _print_best_of_studies(options)
    elif len(folders) > 1:
        _print_sweep(options, folders)
    else:
        _print_study(options, folders[0])


def _print_best_of_studies(options: Namespace) -> None:
    """Print the best configurations on each dataset, of all studies in a folder."""
    from study.report.leaderboard_tables import render_best_of_studies
    from study.results.best_of_studies import best_of_studies
    from study.storage.command_lines import storage_folder

    folder = storage_folder(options.storage)
    rows = best_of_studies(folder, options.top)
    if options.json:
        print_json([row.record() for row in rows])
    elif rows:
        output_console().print(render_best_of_studies(rows))
    else:
        raise DataError(f"no study in {folder} has a finished trial of a search")


def _print_sweep(options: Namespace, folders: list[Path]) -> None:
    """Print the tables of a sweep beside published averages."""
    from study.report.sweep_tables import sweep_tables
    from study.results.sweep_scores import read_sweep

    if options.json:
        raise ConfigError("--json is allowed with one study; a sweep writes tables.csv")
    output_console().print(*sweep_tables(read_sweep(folders)))


def _print_study(options: Namespace, folder: Path) -> None:
    """Print the candidates of a study, or the cells of an ablation."""
    from study.report.leaderboard_tables import (
        leaderboard_records,
        render_leaderboard,
        render_screen,
    )
    from study.results.study_result import read_study_result

    result = read_study_result(folder)
    if options.json:
        print_json(leaderboard_records(result))
    else:
        render = render_leaderboard if options.all or result.ablation else render_screen
        output_console().print(render(result))
