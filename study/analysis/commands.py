"""The commands that show a study's results, each with the options that the user gave."""

import sys
from argparse import Namespace

from rich.console import Group

from study.analysis import report
from study.analysis.ablation import (
    BASE,
    ablation_plots,
    ablation_table,
    render_ablation,
    write_ablation,
)
from study.analysis.charts import write_plots
from study.analysis.leaderboard import leaderboard
from study.analysis.leaderboard_output import render, to_csv, to_json, to_markdown
from study.analysis.paper import read_sweep, tables, write_tables
from study.analysis.plots import make_plots
from study.analysis.predictions import difference_tables
from study.analysis.results import read_results
from study.errors import ConfigError, TrackingError
from study.storage.command_lines import default_storage


def show_leaderboard(options: Namespace) -> None:
    """Print one study's leaderboard, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    views = {"table": render, "markdown": to_markdown, "csv": to_csv, "json": to_json}
    formats = tuple(views) if options.name else ("table", "json", "yaml")
    if options.format not in formats:
        raise ConfigError(f"--format {options.format} is not possible here; allowed: {formats}")
    if options.name and (options.study or options.where):
        raise ConfigError("--study and --where ask the tracking server; leave the name out")
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; allowed is 1 or more")
    if options.name:
        shown = views[options.format](leaderboard(read_results(options.folder.path)))
    else:
        shown = _best_on_server(options)
    if isinstance(shown, str):
        print(shown, end="")
    else:
        options.console.print(shown)


def _best_on_server(options: Namespace) -> Group | str:
    # MLflow takes seconds to import, and the results of a study do not need it.
    from study.analysis.best_runs_output import render_found, rows_as_json, to_study
    from study.tracking.mlflow.address import tracking_uri
    from study.tracking.mlflow.best_runs import best_configurations, configuration_of, exact

    uri = tracking_uri(None)
    storage = options.storage or default_storage()
    found = best_configurations(
        uri, study=options.study, where=options.where, top=options.top, storage=storage
    )
    if options.format == "json":
        return rows_as_json(found)
    if not found:
        raise TrackingError("no study on the tracking server has such a configuration")
    if options.format == "yaml":
        exactly = [exact(uri, one) for one in found]
        return to_study(exactly, configuration_of(uri, found[0]))
    return render_found(found)


def show_difference(options: Namespace) -> None:
    """Print where two candidates differ on test, class by class, or image by image as CSV."""
    results = read_results(options.folder.path)
    classes, images = difference_tables(results, options.one, options.other)
    if options.format == "csv":
        print(images.csv(), end="")
    else:
        options.console.print(classes, classes.note)


def show_drift(options: Namespace) -> None:
    """Print, draw and save the drift of the winner or of named trials."""
    # Torch takes seconds to import, and no other of these commands needs it.
    from study.analysis.drift import render_drift, study_drift, write_drift

    results = read_results(options.folder.path)
    found = study_drift(results, options.trial)
    options.console.print(render_drift(found), highlight=False)
    print(*write_drift(results.folder.path, found), sep="\n")


def write_report(options: Namespace) -> None:
    """Write the report of a study, and the charts in it as files."""
    results = read_results(options.folder.path)
    board = leaderboard(results)
    charts = make_plots(results, board)
    print(report.write_report(results, board, charts))
    if results.ablates:
        charts = ablation_plots(ablation_table(results))
    print(*write_plots(results.folder.path, charts), sep="\n")
    for chart in charts:
        if chart.missing is not None:
            print(f"{chart.name}: not drawn: {chart.missing}", file=sys.stderr)


def show_ablation(options: Namespace) -> None:
    """Print an ablation, and write its files."""
    results = read_results(options.folder.path)
    table = ablation_table(results, options.base or BASE)
    options.console.print(render_ablation(table))
    print(*write_ablation(results.folder.path, table), sep="\n")


def show_paper_tables(options: Namespace) -> None:
    """Print the tables of a sweep, and write them if asked."""
    results = read_sweep([folder.path for folder in options.folders])
    options.console.print(*tables(results))
    if options.to is not None:
        print(write_tables(results, options.to))
