"""The command ``leaderboard``: of a study, an ablation, a sweep, or all studies of a folder."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from study.commands.arguments import add_json
from study.commands.output import lasting_console, print_json
from study.errors import ConfigError, DataError

View = Callable[[Any], object]
"""What makes the output of results in one format."""
HELP = (
    "print the test scores of a study, the cells of an ablation, or the tables of a sweep (several "
    "studies of one file) beside published averages; without NAME the best configurations of all "
    "studies in a folder"
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add studies, how many configurations to print without any, and the form of the output."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME | storage=FOLDER",
        help="the name of a study, or the path to its folder; the folder that has the studies "
        "(default: $STUDY_STORAGE, else runs)",
    )
    parser.add_argument(
        "--all", action="store_true", help="print all tables, and not one screen of them"
    )
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="write the tables of a sweep into this folder"
    )
    parser.add_argument(
        "--top",
        type=int,
        default=10,
        help="without NAME above: how many of each dataset (default: 10)",
    )
    parser.add_argument(
        "--format",
        choices=["csv", "markdown", "table"],
        default="table",
        help="of a study or an ablation: table, markdown or csv (default: table)",
    )
    add_json(parser)


def run(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of all studies.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    from study.commands.find import find_study, split_off_storage

    names, storage = split_off_storage(options.names)
    folders = [find_study(name, storage).path for name in names]
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; allowed is 1 or more")
    if not folders:
        if options.to:
            raise ConfigError("--to is allowed with the name of a study")
        _print_best_of_studies(options, storage)
        return
    from study.report import ablation_tables, leaderboard_tables
    from study.results.study_result import read_study_result

    if len(folders) > 1 or options.to:
        _print_sweep(options, folders)
        return
    result = read_study_result(folders[0])
    if result.ablation:
        cells: dict[str, View] = {
            "table": ablation_tables.render_ablation,
            "markdown": ablation_tables.ablation_markdown,
            "csv": ablation_tables.ablation_csv,
            "json": ablation_tables.ablation_records,
        }
        _print(options, _view(options, cells), result.ablation)
    else:
        screen = leaderboard_tables.render_screen
        candidates: dict[str, View] = {
            "table": leaderboard_tables.render_leaderboard if options.all else screen,
            "markdown": leaderboard_tables.leaderboard_markdown,
            "csv": leaderboard_tables.leaderboard_csv,
            "json": leaderboard_tables.leaderboard_records,
        }
        _print(options, _view(options, candidates), result)


def _print(options: Namespace, view: View, results: Any) -> None:
    if options.json:
        print_json(view(results))
    elif options.format == "table":
        lasting_console().print(view(results))
    else:
        print(view(results), end="")


def _view(options: Namespace, views: Mapping[str, View]) -> View:
    """Return what makes the output in the format of the options.

    Raises:
        ConfigError: there is no such format.
    """
    name = "json" if options.json else options.format
    if name not in views:
        raise ConfigError(f"--format {name} is not possible here; allowed is {' or '.join(views)}")
    return views[name]


def _print_sweep(options: Namespace, folders: Sequence[Path]) -> None:
    """Print the tables of a sweep beside published averages, and write them if asked."""
    from rich.console import Group

    from study.report.paper_tables import sweep_tables, write_sweep_tables
    from study.results.sweep_scores import read_sweep

    view = _view(options, {"table": lambda results: Group(*sweep_tables(results))})
    results = read_sweep(folders)
    _print(options, view, results)
    if options.to is not None:
        print(write_sweep_tables(results, options.to))


def _print_best_of_studies(options: Namespace, storage: str | None) -> None:
    """Print the best configurations on each dataset, of all studies in a folder."""
    from study.report.best_configurations import (
        best_configurations_records,
        render_best_configurations,
    )
    from study.results.best_of_studies import best_of_studies
    from study.storage.command_lines import storage_folder

    views: dict[str, View] = {
        "table": render_best_configurations,
        "json": best_configurations_records,
    }
    view = _view(options, views)
    folder = storage_folder(storage)
    rows = best_of_studies(folder, options.top)
    if not rows and not options.json:
        raise DataError(f"no study in {folder} has a finished trial of a search")
    _print(options, view, rows)
