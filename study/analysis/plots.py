"""The plots of a study, as PNG and SVG files."""

from collections.abc import Sequence
from pathlib import Path

from study.analysis.charts import Chart, draw
from study.analysis.comparison import Leaderboard
from study.analysis.result_charts import (
    agreement_chart,
    history_chart,
    pareto_chart,
    rates_chart,
    rungs_chart,
)
from study.analysis.results import Results
from study.storage.atomic import write_atomically

PLOTS_FOLDER = "plots"


def make_plots(results: Results, board: Leaderboard) -> tuple[Chart, ...]:
    """Return the charts of a search and its choice, in the order of the report.

    An ablation has those of `ablation_plots` instead: its search tries a few rates for each cell.

    Args:
        results: the results of the study.
        board: its leaderboard.
    """
    from study.analysis.importance import importance_charts, load_optuna_studies

    if results.ablates:
        return ()
    searched = results.stage("search")
    return (
        agreement_chart(board),
        pareto_chart(searched, board),
        rates_chart(searched),
        rungs_chart(searched),
        history_chart(searched),
        *importance_charts(load_optuna_studies(results)),
    )


def write_plots(folder: Path, charts: Sequence[Chart]) -> tuple[Path, ...]:
    """Write each chart as `plots/NAME.png` and `plots/NAME.svg`.

    Args:
        folder: the study's folder.
        charts: the charts, such as those from `make_plots`.

    Returns:
        The files written.
    """
    written: list[Path] = []
    target = folder / PLOTS_FOLDER
    target.mkdir(exist_ok=True)
    for chart in charts:
        drawn = {} if chart.missing else draw(chart, "png", "svg")
        paths = {target / f"{chart.name}.{suffix}": drawn[suffix] for suffix in drawn}
        for path, contents in paths.items():
            write_atomically(path, contents)
        # A file from an earlier state of the study would look like a current one.
        for stale in set(target.glob(f"{chart.name}.*")) - paths.keys():
            stale.unlink()
        written += paths
    return tuple(written)
