"""The views of the command ``leaderboard``: a study, an ablation, a sweep, a tracking server."""

from argparse import Namespace

from study.errors import ConfigError, TrackingError
from study.process.terminal_table import print_unwrapped
from study.report import ablation_tables
from study.report.leaderboard_tables import (
    leaderboard_csv,
    leaderboard_markdown,
    leaderboard_records,
    render_leaderboard,
)
from study.report.paper_tables import sweep_tables, write_sweep_tables
from study.results.ablation import ablation_table
from study.results.leaderboard import leaderboard
from study.results.study_results import Results, read_results
from study.results.sweep_scores import read_sweep
from study.storage.command_lines import storage_folder


def print_leaderboard(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    if options.json:
        options.format = "json"
    if options.folders and (options.study or options.where):
        raise ConfigError("--study and --where ask the tracking server; leave the names out")
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; allowed is 1 or more")
    if not options.folders and options.to:
        raise ConfigError("--to is for studies; allowed with the name of one")
    if not options.folders:
        _refuse_format(options, "table", "json", "yaml")
        _print(options, _best_on_server(options))
    elif len(options.folders) == 1:
        _show_study(options)
    else:
        _show_sweep(options)


def _refuse_format(options: Namespace, *allowed: str) -> None:
    if options.format not in allowed:
        raise ConfigError(f"--format {options.format} is not possible here; allowed: {allowed}")


def _print(options: Namespace, view: object) -> None:
    if options.format == "json":
        from study.workflow.json_output import print_json

        print_json(view)
    elif isinstance(view, str):
        print(view, end="")
    else:
        options.console.print(view)


def _show_study(options: Namespace) -> None:
    """Print the leaderboard of a study, or the tables of its ablation or its sweep."""
    _refuse_format(options, "table", "markdown", "csv", "json")
    results = read_results(options.folders[0].path)
    if results.ablates:
        _show_ablation(options, results)
    elif options.to is not None:
        _show_sweep(options)
    else:
        views = {
            "table": render_leaderboard,
            "markdown": leaderboard_markdown,
            "csv": leaderboard_csv,
            "json": leaderboard_records,
        }
        _print(options, views[options.format](leaderboard(results)))


def _show_ablation(options: Namespace, results: Results) -> None:
    """Print the comparison of an ablation's cells, and write its files if asked."""
    views = {
        "table": ablation_tables.render_ablation,
        "markdown": ablation_tables.ablation_markdown,
        "csv": ablation_tables.ablation_csv,
        "json": ablation_tables.ablation_records,
    }
    table = ablation_table(results)
    _print(options, views[options.format](table))
    if options.to is not None:
        written = ablation_tables.write_ablation(options.to, table)
        print_unwrapped(options.console, "\n".join(map(str, written)))


def _show_sweep(options: Namespace) -> None:
    """Print the tables of a sweep beside published averages, and write them if asked."""
    _refuse_format(options, "table")
    results = read_sweep([folder.path for folder in options.folders])
    options.console.print(*sweep_tables(results))
    if options.to is not None:
        print(write_sweep_tables(results, options.to))


def _best_on_server(options: Namespace) -> object:
    # The results of a study do not need these imports.
    from study import tracking
    from study.report.best_configurations import (
        baselines_study_yaml,
        best_configurations_records,
        render_best_configurations,
    )

    tracker = tracking.MlflowTracker()
    storage = storage_folder(options.storage)
    rows = tracker.best_configurations(
        study=options.study, where=options.where, top=options.top, storage=storage
    )
    if options.format == "json":
        return best_configurations_records(rows)
    if not rows:
        raise TrackingError("no study on the tracking server has such a configuration")
    if options.format == "yaml":
        return baselines_study_yaml(*tracker.read_exact(rows))
    return render_best_configurations(rows)
