"""The report of a study: one HTML page, for readers who never saw the code."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.config.labels import BASELINE
from study.process.templates import templates
from study.report import (
    ablation_charts,
    ablation_command,
    ablation_tables,
    configuration_table,
    confusion_tables,
    label_tables,
    leaderboard_tables,
    pictures,
    setting_descriptions,
    site_descriptions,
    verdict,
)
from study.report.charts import Chart, draw
from study.report.formatting import Table, format_count, percent, score_header
from study.report.further_scores import further_header
from study.report.groups import group_name
from study.report.names import candidate_name
from study.report.pictures import Datasets
from study.report.setting_descriptions import setting_cells, setting_header, tuned_in_words
from study.results.study_result import FinalModel, StudyResult
from study.results.trial_results import TrialResult
from study.storage.atomic import write_atomically

_FOLDER = Path(__file__).parent
_CALLED = (
    ablation_command,
    ablation_tables,
    configuration_table,
    confusion_tables,
    label_tables,
    leaderboard_tables,
    pictures,
    setting_descriptions,
    site_descriptions,
    verdict,
)
"""The modules whose functions the page's template calls."""


def write_report(
    board: StudyResult, plots: Sequence[Chart], datasets: Datasets | None = None
) -> Path:
    """Write `report.html`, which needs no other file or network, into the study's folder.

    Args:
        board: the results of the study.
        plots: the charts from `make_plots`.
        datasets: the datasets that were read already, for pictures; see `make_gallery`.

    Returns:
        The path of the report.

    Raises:
        LedgerError: a file of predictions is damaged.
    """
    path = board.folder.path / "report.html"
    write_atomically(path, render_report(board, plots, datasets))
    return path


def render_report(
    board: StudyResult, plots: Sequence[Chart], datasets: Datasets | None = None
) -> str:
    """Return the report as HTML; arguments and errors are those of `write_report`."""
    environment = templates(
        _FOLDER,
        autoescape=True,
        lstrip_blocks=True,
        finalize=_keep_percent_together,
    )
    environment.filters["svg"] = _inline_svg
    for module in _CALLED:
        environment.globals.update(vars(module))
    ablation = board.ablation if board.stage("ablation") else None
    if ablation:
        plots = [*plots, *ablation_charts.ablation_plots(ablation)]
    digest = hashlib.sha256(environment.get_template("report.js").render().encode()).digest()
    template = environment.get_template("report.html.jinja")
    return template.render(
        board=board,
        datasets=datasets or {},
        ablation=ablation,
        search_trials=_search_table(board),
        test_trials=_test_table(board),
        loading_code=_loading_code,
        plots=plots,
        script_hash=f"sha256-{base64.b64encode(digest).decode()}",
    )


def _keep_percent_together(value: Any) -> Any:
    """Return a text in which no line ends between a number and its percent sign.

    Markup stays as it is: drawings, and code that readers copy.
    """
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return value.replace(" %", "\N{NO-BREAK SPACE}%")
    return value


def _inline_svg(chart: Chart) -> str:
    """Return what an SVG of a chart has after its name, for an element of the page."""
    _, _, drawing = draw(chart, "svg").decode().partition("<svg")
    # The numbered groups of every chart have the same ids, to which nothing refers.
    return re.sub(r' id="[\w.]+_\d+"', "", drawing)


def _loading_code(board: StudyResult, final: FinalModel) -> str | None:
    """Return code that loads the delta of the final model; None without one."""
    # The first seed, not the best on test: that would be selecting on test.
    trials = sorted(board.test_trials(final.row.label), key=lambda trial: trial.seed)
    if final.trial is not None:
        trials = [final.trial]
    deltas = [f"trials/{trial.trial_id}/delta.safetensors" for trial in trials]
    present = [delta for delta in deltas if (board.folder.path / delta).is_file()]
    if not present:
        return None
    template = templates(_FOLDER, keep_trailing_newline=True).get_template("loading.py.jinja")
    code = template.render(board=board, delta=present[0], settings=final.row.settings)
    return str(code)


def _search_table(results: StudyResult) -> Table:
    """Return the trials of the search, by validation score; those without a score are last."""
    # The score is beside the name, since a narrow screen would hide the last columns.
    header = ["trial", "validation %", "part of the search", "ended", "tunes", "epochs"]
    header += [*setting_header(), "trainable"]
    trials = sorted(
        results.stage("search"),
        key=lambda trial: (trial.val_score is None, -(trial.val_score or 0.0)),
    )
    rows = []
    for trial in trials:
        name = group_name(trial.group)
        if trial.group == BASELINE:
            name = candidate_name(trial.label)
        row = [
            trial.trial_id,
            percent(trial.val_score),
            name,
            _describe_end(trial),
            tuned_in_words(trial.settings),
            f"{trial.epochs}/{trial.epochs_planned}",
            *setting_cells(trial.settings),
            format_count(trial.trainable),
        ]
        rows.append(row)
    return Table("", header, rows, left=5)


def _test_table(results: StudyResult) -> Table:
    """Return the trainings, by candidate and seed."""
    header = ["candidate", "ended", "seed", "epochs", *score_header(results.parts, "test")]
    header += further_header(results)
    scores = (*results.parts, "score", *results.score_names.further)
    rows = []
    for trial in sorted(results.stage("test"), key=lambda trial: (trial.label, trial.seed)):
        cells = [percent(trial.test.get(score)) for score in scores]
        rows.append([trial.label, _describe_end(trial), trial.seed, trial.epochs, *cells])
    return Table("", header, rows, left=2)


def _describe_end(trial: TrialResult) -> str:
    """Return how a trial ended, and why, where that is known."""
    if not trial.reason:
        return trial.status
    return f"{trial.status}: {trial.reason}"
