"""The command ``report``: the page of a study, and its charts."""

import sys
from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_study
from study.commands.console import output_console

HELP = "write report.html and the charts of a study"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and ``--drift``."""
    add_study(parser)
    parser.add_argument(
        "--drift",
        action="store_true",
        help="also measure and draw how far tuning moved the parameters and features of the best "
        "configuration",
    )


def run(options: Namespace) -> None:
    """Write the report of a study, and the charts in it as files.

    Raises:
        StudyError: the study cannot be read.
    """
    from study.commands.find import find_study

    folder = find_study(options.name, options.storage)
    from study.report import page
    from study.report.charts import write_charts
    from study.report.study_charts import make_charts
    from study.results.study_result import read_study_result

    result = read_study_result(folder.path)
    charts = make_charts(result)
    print(page.write_report(result, charts))
    print(*write_charts(result.folder.path, charts), sep="\n")
    for chart in charts:
        if not chart.painters:
            print(f"{chart.name}: not drawn: {chart.reason_if_empty}", file=sys.stderr)
    if options.drift:
        from study.report.drift_chart import describe_drift, write_drift
        from study.results.drift import study_drift

        drift = study_drift(result)
        output_console().print(describe_drift(drift))
        print(*write_drift(result.folder.path, drift), sep="\n")
