"""The command ``drift``: how far tuning moved the model of a study."""

from argparse import Namespace

from study.report.drift_tables import render_drift, write_drift
from study.results.drift import study_drift
from study.results.study_results import read_results


def show_drift(options: Namespace) -> None:
    """Print, draw and save the drift of the winner or of named trials."""
    results = read_results(options.folder.path)
    drift = study_drift(results, options.trial)
    options.console.print(render_drift(drift), highlight=False)
    print(*write_drift(results.folder.path, drift), sep="\n")
