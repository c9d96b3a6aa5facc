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
    board = leaderboard(read_results(options.folder.path))
    charts = make_plots(board)
    print(page.write_report(board, charts))
    if board.ablates:
        charts = ablation_plots(ablation_table(board))
    print(*write_plots(board.folder.path, charts), sep="\n")
    for chart in charts:
        if chart.missing_reason is not None:
            print(f"{chart.name}: not drawn: {chart.missing_reason}", file=sys.stderr)
