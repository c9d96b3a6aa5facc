"""The command ``report``: the page of a study, and its charts."""

import sys
from argparse import Namespace

from study.report import page
from study.report.ablation_charts import ablation_plots
from study.report.charts import write_plots
from study.report.plots import make_plots
from study.results.ablation import ablation_table
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results


def write_report(options: Namespace) -> None:
    """Write the report of a study, and the charts in it as files."""
    results = read_results(options.folder.path)
    board = leaderboard(results)
    charts = make_plots(results, board)
    print(page.write_report(results, board, charts))
    if results.ablates:
        charts = ablation_plots(ablation_table(results))
    print(*write_plots(results.folder.path, charts), sep="\n")
    for chart in charts:
        if chart.missing_reason is not None:
            print(f"{chart.name}: not drawn: {chart.missing_reason}", file=sys.stderr)
