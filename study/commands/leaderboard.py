"""The command ``leaderboard``: of a study, an ablation, a sweep, or a tracking server."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from study.commands.arguments import add_json
from study.errors import ConfigError, TrackingError
from study.process.ctrl_c import exit_at_ctrl_c

TYPE_CHECKING = False  # of typing, whose import takes long
if TYPE_CHECKING:
    from study.results.ablation import Ablation

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
        "\"params.dataset = 'digits'\"",
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
    parser.add_argument(
        "--all", action="store_true", help="print all tables of a study, not one screen alone"
    )
    add_json(parser)


def run(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    with exit_at_ctrl_c():
        from study.commands.find import find_study, split_off_storage
    names, storage = split_off_storage(options.names)
    folders = [find_study(name, storage).path for name in names]
    form = "json" if options.json else options.format
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; allowed is 1 or more")
    if not folders:
        if options.to or storage:
            raise ConfigError("--to and storage=FOLDER are allowed with the name of a study")
        _print_best_on_server(options, form)
        return
    if options.study or options.where:
        raise ConfigError("--study and --where ask the tracking server; leave the names out")
    if len(folders) > 1:
        _print_sweep(folders, form, options.to)
        return
    with exit_at_ctrl_c():
        from study.report.leaderboard_tables import (
            leaderboard_csv,
            leaderboard_markdown,
            leaderboard_records,
            render_leaderboard,
            render_screen,
        )
        from study.results.study_result import read_study_result
    result = read_study_result(folders[0])
    if result.ablation:
        _print_ablation(result.ablation, form, options.to)
    elif options.to is not None:
        _print_sweep(folders, form, options.to)
    else:
        views = {
            "table": render_leaderboard if options.all else render_screen,
            "markdown": leaderboard_markdown,
            "csv": leaderboard_csv,
            "json": leaderboard_records,
        }
        _refuse_format(form, *views)
        _print(views[form](result), form)


def _refuse_format(form: str, *allowed: str) -> None:
    if form not in allowed:
        raise ConfigError(
            f"--format {form} is not possible here; allowed is {' or '.join(allowed)}"
        )


def _print(view: object, form: str) -> None:
    from study.commands.json_output import print_json
    from study.commands.signals import LastingConsole

    if form == "json":
        print_json(view)
    elif isinstance(view, str):
        print(view, end="")
    else:
        LastingConsole().print(view)


def _print_ablation(table: "Ablation", form: str, folder: Path | None) -> None:
    """Print the comparison of an ablation's cells, and write its files if asked."""
    with exit_at_ctrl_c():
        from study.report import ablation_tables
    views = {
        "table": ablation_tables.render_ablation,
        "markdown": ablation_tables.ablation_markdown,
        "csv": ablation_tables.ablation_csv,
        "json": ablation_tables.ablation_records,
    }
    _refuse_format(form, *views)
    _print(views[form](table), form)
    if folder is not None:
        print(*ablation_tables.write_ablation(folder, table), sep="\n")


def _print_sweep(folders: Sequence[Path], form: str, folder: Path | None) -> None:
    """Print the tables of a sweep beside published averages, and write them if asked."""
    _refuse_format(form, "table")
    with exit_at_ctrl_c():
        from study.commands.signals import LastingConsole
        from study.report.paper_tables import sweep_tables, write_sweep_tables
        from study.results.sweep_scores import read_sweep
    results = read_sweep(folders)
    LastingConsole().print(*sweep_tables(results))
    if folder is not None:
        print(write_sweep_tables(results, folder))


def _print_best_on_server(options: Namespace, form: str) -> None:
    _refuse_format(form, "table", "json", "yaml")
    with exit_at_ctrl_c():
        from study import tracking
        from study.report.best_configurations import (
            baselines_study_yaml,
            best_configurations_records,
            render_best_configurations,
        )
    tracker = tracking.MlflowTracker()
    rows = tracker.best_configurations(study=options.study, where=options.where, top=options.top)
    if form == "json":
        _print(best_configurations_records(rows), form)
    elif not rows:
        raise TrackingError("no study on the tracking server has such a configuration")
    elif form == "yaml":
        _print(baselines_study_yaml(*tracker.read_exact(rows)), form)
    else:
        _print(render_best_configurations(rows), form)
