"""The report of a study: one HTML page, for readers who never saw the code."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.backbones.description import EMBEDDED
from study.errors import DataError
from study.process.templates import templates
from study.report.ablation_charts import ablation_plots
from study.report.ablation_command import ablation_command
from study.report.ablation_tables import (
    ablation_verdict,
    cell_table,
    setting_table,
)
from study.report.arms import arm_name
from study.report.charts import Chart, draw
from study.report.configuration_table import configuration_rows, stage_rows
from study.report.confusion_tables import class_accuracy_table, confusion_table
from study.report.formatting import Table, format_count, percent, score_header
from study.report.further_scores import further_header
from study.report.interaction_tables import interaction_table
from study.report.label_tables import describe_check
from study.report.ladder_table import ladder_table
from study.report.leaderboard_tables import (
    budget_table,
    configuration_table,
    main_table,
    target_table,
)
from study.report.names import candidate_name
from study.report.pictures import Datasets, label_pictures, make_gallery
from study.report.reliability_table import reliability_table
from study.report.sentences import sentences
from study.report.setting_descriptions import (
    setting_cells,
    setting_header,
    settings_in_words,
    shots_in_words,
    tuned_in_words,
)
from study.report.site_descriptions import subset_in_words
from study.report.site_share_tables import share_sentences, share_table
from study.report.study_description import champion_sentence
from study.report.verdict import (
    headline,
    validation_findings,
    verdict,
)
from study.results.ablation import ablation_table
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard
from study.results.site_shares import site_shares
from study.results.study_results import Results
from study.results.trial_results import BASELINE, TrialResult
from study.storage.atomic import write_atomically

_FOLDER = Path(__file__).parent


def write_report(
    board: Leaderboard, plots: Sequence[Chart], datasets: Datasets | None = None
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
    board: Leaderboard, plots: Sequence[Chart], datasets: Datasets | None = None
) -> str:
    """Return the report as HTML; arguments and errors are those of `write_report`."""
    environment = templates(
        _FOLDER,
        autoescape=True,
        lstrip_blocks=True,
        finalize=_keep_percent_together,
    )
    environment.filters["svg"] = _inline_svg
    template = environment.get_template("report.html.jinja")
    datasets = datasets or {}
    opening = headline(board)
    searches = board.protocol.searches(board.config)
    ablation = _ablation(board)
    if ablation:
        plots = [*plots, *ablation["plots"]]
    digest = hashlib.sha256(environment.get_template("report.js").render().encode()).digest()
    return template.render(
        board=board,
        subtitle=_subtitle(board),
        headline=opening,
        choice=_describe_choice(board, board.chosen) if board.chosen else None,
        verdict=sentences("report/judged_choice", board=board) if opening else verdict(board),
        configuration=configuration_rows(board),
        stages=stage_rows(board),
        scores=main_table(board),
        ladder=ladder_table(board),
        reliability=reliability_table(board.calibrations),
        targets=target_table(board),
        configurations=configuration_table(board),
        budgets=budget_table(board),
        validation=validation_findings(board),
        searches=searches,
        recommendation=_recommendation(board),
        classes=class_accuracy_table(board),
        confusions=confusion_table(board),
        site_shares=_site_shares(board) if searches else None,
        ablation=ablation,
        search_trials=_search_table(board),
        confirm_trials=_confirm_table(board),
        yaml=board.folder.config_path.read_text(encoding="utf-8"),
        identity=sorted(board.identity.items()),
        gallery=make_gallery(board, datasets),
        label_check=describe_check(board.label_check),
        label_pictures=label_pictures(board, datasets),
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


def _subtitle(results: Results) -> str:
    """Return the dataset, the protocol, the number of training images, and the backbone."""
    config = results.config
    words = [config.data.dataset, config.protocol.replace("_", "-")]
    if results.protocol.trains:
        words.append(shots_in_words(config.data))
    backbone = config.backbone.name
    if backbone == EMBEDDED:
        backbone += " (this package’s small CLIP, which has seen printed characters alone)"
    words.append(backbone)
    return ", ".join(words)


def _recommendation(board: Leaderboard) -> dict[str, Any] | None:
    """Return what the template recommends under “What to use”; None without a winner."""
    recommended, registration = board.shipped, board.registration
    if recommended is None:
        return None
    section = {
        "entry": recommended,
        "settings": settings_in_words(recommended.settings),
        "loading_code": _loading_code(board, recommended),
        "serving_code": None,
    }
    if registration is not None:
        section["registration"] = champion_sentence(registration, board)
        section["serving_code"] = f"import mlflow\n\n{registration.loading_line()}"
    return section


def _describe_choice(board: Leaderboard, choice: Entry) -> dict[str, Any]:
    """Return which sites the choice tunes and what they are, and how it was chosen."""
    settings = choice.settings
    (sentence,) = sentences("report/choice", board=board, choice=choice)
    sites: list[tuple[str, str]] = []
    if settings.subset != "none" or settings.peer is not None:
        sites = subset_in_words(settings.subset)
    return {"sentence": sentence, "sites": sites}


def _site_shares(results: Results) -> dict[str, Any]:
    shares = site_shares(results)
    return {
        "sentences": share_sentences(results, shares),
        "table": share_table(shares),
        "command": ablation_command(results),
    }


def _loading_code(board: Leaderboard, recommended: Entry) -> str | None:
    """Return code that loads the delta of what ships; None without one."""
    # The first seed, not the best on test: that would be selecting on test.
    trials = sorted(board.confirm_trials(recommended.label), key=lambda trial: trial.seed)
    if board.refit is not None:
        trials = [board.refit.trial]
    deltas = [f"trials/{trial.trial_id}/delta.safetensors" for trial in trials]
    present = [delta for delta in deltas if (board.folder.path / delta).is_file()]
    if not present:
        return None
    template = templates(_FOLDER, keep_trailing_newline=True).get_template("loading.py.jinja")
    is_linear = recommended.settings.head == "linear"
    code = template.render(config=board.config, delta=present[0], is_linear=is_linear)
    return str(code)


def _ablation(results: Results) -> dict[str, Any] | None:
    """Return the ablation with the base `BASE`, if there is one; others are not in the report."""
    try:
        table = ablation_table(results)
    except DataError:
        return None
    return {
        "verdict": ablation_verdict(table),
        "cells": cell_table(table),
        "interactions": interaction_table(table.interactions),
        "settings": setting_table(table),
        "plots": ablation_plots(table),
    }


def _search_table(results: Results) -> Table:
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
        name = arm_name(trial.arm)
        if trial.arm == BASELINE:
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


def _confirm_table(results: Results) -> Table:
    """Return the confirmation trials, by candidate and seed."""
    header = ["candidate", "ended", "seed", "epochs", *score_header(results.parts, "test")]
    header += further_header(results)
    scores = (*results.parts, "score", *results.further_names)
    rows = []
    for trial in sorted(results.stage("confirm"), key=lambda trial: (trial.label, trial.seed)):
        cells = [percent(trial.test.get(score)) for score in scores]
        rows.append([trial.label, _describe_end(trial), trial.seed, trial.epochs, *cells])
    return Table("", header, rows, left=2)


def _describe_end(trial: TrialResult) -> str:
    """Return how a trial ended, and why, where that is known."""
    if not trial.reason:
        return trial.status
    return f"{trial.status}: {trial.reason}"
