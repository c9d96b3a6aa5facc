"""The command ``leaderboard``: of a study, an ablation, a sweep, or a tracking server."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.commands.arguments import add_json
from study.commands.output import lasting_console, print_json
from study.errors import ConfigError, TrackingError

if TYPE_CHECKING:
    from study.tracking.tracker import RankedConfiguration

HELP = (
    "print the test scores of a study, the cells of an ablation, or the tables of a sweep (several "
    "studies of one file) beside published averages; without NAME the best configurations of all "
    "studies that MLflow has (MLFLOW_TRACKING_URI, else ./mlflow.db)"
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add studies, what to ask of the tracking server without any, and the form of the output."""
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
        "--to",
        type=Path,
        metavar="FOLDER",
        help="write the tables of a sweep, or the files of an ablation, into this folder",
    )
    parser.add_argument(
        "--study",
        metavar="NAME",
        help="without NAME above: of this study alone, as MLflow has it",
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="without NAME above: of the runs that meet a condition of MLflow, such as "
        "\"params.dataset = 'digits'\" (default: on the dataset of the best alone)",
    )
    parser.add_argument(
        "--top", type=int, default=10, help="without NAME above: how many (default: 10)"
    )
    parser.add_argument(
        "--format",
        choices=["csv", "json", "markdown", "table", "yaml"],
        default="table",
        help="of a study or an ablation: table, markdown, csv, json; without NAME: table, json, or "
        "yaml, a configuration for `run` whose baselines are the listed ones (default: table)",
    )
    add_json(parser)


def run(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    from study.commands.find import find_study, split_off_storage

    names, storage = split_off_storage(options.names)
    folders = [find_study(name, storage).path for name in names]
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; allowed is 1 or more")
    if not folders:
        if options.to or storage:
            raise ConfigError("--to and storage=FOLDER are allowed with the name of a study")
        _print_best_on_server(options)
        return
    if options.study or options.where:
        raise ConfigError("--study and --where ask the tracking server; leave the names out")
    if len(folders) > 1:
        _print_sweep(options, folders)
        return
    from study.report import ablation_tables, leaderboard_tables
    from study.results.study_result import read_study_result

    result = read_study_result(folders[0])
    if result.ablation:
        cells: dict[str, Callable[[Any], object]] = {
            "table": ablation_tables.render_ablation,
            "markdown": ablation_tables.ablation_markdown,
            "csv": ablation_tables.ablation_csv,
            "json": ablation_tables.ablation_records,
        }
        _print(options, _view(options, cells)(result.ablation))
        if options.to is not None:
            print(*ablation_tables.write_ablation(options.to, result.ablation), sep="\n")
    elif options.to is not None:
        _print_sweep(options, folders)
    else:
        screen = leaderboard_tables.render_screen
        views: dict[str, Callable[[Any], object]] = {
            "table": leaderboard_tables.render_leaderboard if options.all else screen,
            "markdown": leaderboard_tables.leaderboard_markdown,
            "csv": leaderboard_tables.leaderboard_csv,
            "json": leaderboard_tables.leaderboard_records,
        }
        _print(options, _view(options, views)(result))


def _view(options: Namespace, views: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return the function that returns results in the format of the options.

    Raises:
        ConfigError: there is none.
    """
    name = "json" if options.json else options.format
    if name not in views:
        raise ConfigError(f"--format {name} is not possible here; allowed is {' or '.join(views)}")
    return views[name]


def _print(options: Namespace, view: object) -> None:
    if options.json or options.format == "json":
        print_json(view)
    elif isinstance(view, str):
        print(view, end="")
    else:
        lasting_console().print(view)


def _print_sweep(options: Namespace, folders: Sequence[Path]) -> None:
    """Print the tables of a sweep beside published averages, and write them if asked."""
    from rich.console import Group

    from study.report.paper_tables import sweep_tables, write_sweep_tables
    from study.results.sweep_scores import read_sweep

    view = _view(options, {"table": lambda results: Group(*sweep_tables(results))})
    results = read_sweep(folders)
    _print(options, view(results))
    if options.to is not None:
        print(write_sweep_tables(results, options.to))


def _print_best_on_server(options: Namespace) -> None:
    """Print the best configurations on one dataset of all studies on the tracking server."""
    from study import tracking
    from study.report.best_configurations import (
        baselines_study_yaml,
        best_configurations_records,
        render_best_configurations,
    )

    tracker = tracking.MlflowTracker()

    view = _view(
        options,
        {
            "table": render_best_configurations,
            "json": best_configurations_records,
            "yaml": lambda rows: baselines_study_yaml(*tracker.read_exact(rows)),
        },
    )

    def best(top: int, where: str | None = None) -> Sequence["RankedConfiguration"]:
        conditions = [condition for condition in (options.where, where) if condition]
        return tracker.best_configurations(
            study=options.study,
            where=" and ".join(conditions) or None,
            top=top,
        )

    rows = best(1)
    if rows:  # scores on several datasets do not compare
        rows = best(options.top, f"params.dataset = '{rows[0].dataset}'")
    elif not options.json and options.format != "json":
        raise TrackingError("no study on the tracking server has such a configuration")
    _print(options, view(rows))
