"""The commands that show a study's results, each with the options that the user gave."""

import sys
from argparse import Namespace
from pathlib import Path

from study.analysis import (
    ablation,
    ablation_output,
    comparison,
    leaderboard,
    occupancy,
    paper,
    plots,
    report,
)
from study.analysis.results import read_results, read_trials
from study.errors import ConfigError, TrackingError


def show_leaderboard(options: Namespace) -> None:
    """Print one study's leaderboard, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    formats = ("table", "markdown", "csv") if options.name else ("table", "json", "yaml")
    if options.format not in formats:
        raise ConfigError(f"--format {options.format} is not possible here; allowed: {formats}")
    if options.name and (options.study or options.where):
        raise ConfigError("--study and --where ask the tracking server; leave the name out")
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; allowed is 1 or more")
    if not options.name:
        _print_best(options)
        return
    board = comparison.leaderboard(read_results(options.folder.path))
    if options.format == "table":
        options.console.print(leaderboard.render(board))
    elif options.format == "markdown":
        print(leaderboard.to_markdown(board), end="")
    else:
        print(leaderboard.to_csv(board), end="")


def _print_best(options: Namespace) -> None:
    # MLflow takes seconds to import, and the results of a study do not need it.
    from study.analysis.best_runs_output import render_found, to_json, to_study
    from study.tracking.mlflow.best_runs import best_configurations, configuration_of
    from study.tracking.mlflow.tracker import tracking_uri

    uri = tracking_uri(None)
    found = best_configurations(uri, study=options.study, where=options.where, top=options.top)
    if options.format == "json":
        print(to_json(found), end="")
    elif not found:
        raise TrackingError("no study on the tracking server has such a configuration")
    elif options.format == "yaml":
        print(to_study(found, configuration_of(uri, found[0])), end="")
    else:
        options.console.print(render_found(found))


def draw_plots(options: Namespace) -> None:
    """Draw the charts of a study, as files and as one page to explore."""
    from study.analysis.interactive import write_interactive

    results = read_results(options.folder.path)
    drawn = plots.make_plots(results, comparison.leaderboard(results))
    _print_paths(*plots.write_plots(results.folder.path, drawn))
    _print_paths(write_interactive(results.folder.path, drawn))
    for plot in drawn:
        if plot.missing is not None:
            print(f"{plot.name}: not drawn: {plot.missing}", file=sys.stderr)


def show_drift(options: Namespace) -> None:
    """Print, draw and save the drift of the winner or of named trials."""
    # Torch takes seconds to import, and no other of these commands needs it.
    from study.analysis.drift import study_drift
    from study.analysis.drift_output import render_drift, write_drift

    results = read_results(options.folder.path)
    found = study_drift(results, options.trial)
    options.console.print(render_drift(found), highlight=False)
    _print_paths(*write_drift(results.folder.path, found))


def write_report(options: Namespace) -> None:
    """Write the report of a study."""
    results = read_results(options.folder.path)
    board = comparison.leaderboard(results)
    _print_paths(report.write_report(results, board, plots.make_plots(results, board)))


def show_ablation(options: Namespace) -> None:
    """Print an ablation, and write its files."""
    results = read_results(options.folder.path)
    table = ablation.ablation_table(results, options.base or ablation.BASE)
    options.console.print(ablation_output.render(table))
    _print_paths(*ablation_output.write_ablation(results.folder.path, table))


def show_occupancy(options: Namespace) -> None:
    """Print the occupancy of a study's slots, stage by stage."""
    trials = read_trials(options.folder)
    for stage in ("search", "confirm", "ablation"):
        if (found := occupancy.occupancy(trials, stage)) is not None:
            print(f"{stage}: {found}")


def show_paper_tables(options: Namespace) -> None:
    """Print the tables of a sweep, and write them if asked."""
    results = paper.read_sweep([folder.path for folder in options.folders])
    options.console.print(paper.render_tables(results))
    if options.to is not None:
        _print_paths(paper.write_tables(results, options.to))


def _print_paths(*paths: Path) -> None:
    for path in paths:
        print(path)
