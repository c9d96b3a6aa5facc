"""The plots of a study: interactive HTML files and PNGs of the same content."""

from collections.abc import Sequence
from pathlib import Path

from study.analysis.charts import Plot, drawn
from study.analysis.comparison import Leaderboard
from study.analysis.result_charts import (
    agreement_chart,
    pareto_chart,
    rates_chart,
    rungs_chart,
)
from study.analysis.results import Results, TrialResult
from study.storage.atomic import write_atomically

PLOTS_FOLDER = "plots"
# The toolbar would cover the legend; hovering, zooming and double clicks work without it.
PLOTLY_CONFIG = {"displayModeBar": False, "responsive": True}


def make_plots(results: Results, board: Leaderboard) -> tuple[Plot, ...]:
    """Draw all plots of a study that its results allow.

    Args:
        results: the results of the study.
        board: its leaderboard.

    Returns:
        The plots in the order of the report; a plot without enough results says so in `missing`.
    """
    from study.analysis.optuna_plots import history_plot, importance_plots, parallel_plots
    from study.analysis.optuna_study import load_optuna_studies

    studies = load_optuna_studies(results)
    return (
        *_result_plots(results.stage("search"), board),
        history_plot(studies),
        *importance_plots(studies),
        *parallel_plots(studies),
    )


def write_plots(folder: Path, plots: Sequence[Plot]) -> tuple[Path, ...]:
    """Write each plot as `plots/NAME.html`, which is self-contained, and `plots/NAME.png`.

    Args:
        folder: the study's folder.
        plots: the plots, such as those from `make_plots`.

    Returns:
        The files written.
    """
    written: list[Path] = []
    target = folder / PLOTS_FOLDER
    target.mkdir(exist_ok=True)
    for plot in plots:
        html, png = target / f"{plot.name}.html", target / f"{plot.name}.png"
        if plot.figure is None or plot.png is None:
            # A file from an earlier state of the study would look like a current one.
            html.unlink(missing_ok=True)
            png.unlink(missing_ok=True)
            continue
        write_atomically(html, _page(plot))
        write_atomically(png, plot.png)
        written += [html, png]
    return tuple(written)


def _page(plot: Plot) -> str:
    from plotly.io import to_html

    return str(
        to_html(
            plot.figure,
            include_plotlyjs=True,
            full_html=True,
            config=PLOTLY_CONFIG,
        )
    )


def _result_plots(searched: Sequence[TrialResult], board: Leaderboard) -> tuple[Plot, ...]:
    return (
        drawn(
            "agreement",
            "Validation against test",
            "Each candidate once: the score it was selected by, and its test score with a 95 % "
            "interval over seeds. A rising cloud means that validation ranked well.",
            agreement_chart(board),
        ),
        drawn(
            "pareto",
            "Score against trainable parameters",
            "Left, finished search trials on validation, with the front of those that no trial "
            "beats with fewer parameters. Right, confirmed candidates on test, with 95 % "
            "intervals.",
            pareto_chart(searched, board),
        ),
        drawn(
            "learning-rates",
            "Validation score against learning rates",
            "Every search trial at the learning rate of its biases (left) and of its LayerNorms "
            "(right). Stopped trials show the score at which they were stopped.",
            rates_chart(searched),
        ),
        drawn(
            "rungs",
            "Early stopping",
            "Left, the validation score of each trial over its epochs. Right, how many trials "
            "reached an epoch: successive halving drops the weaker ones at its rungs.",
            rungs_chart(searched),
        ),
    )
