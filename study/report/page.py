"""The page of what a study came to, for readers who never saw the code. It needs no other file."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.config.schema import StudyConfig
from study.errors import DataError
from study.report.ablation_charts import ablation_plots
from study.report.ablation_command import ablation_command
from study.report.ablation_tables import (
    ablation_verdict,
    cell_table,
    setting_table,
)
from study.report.arms import arm_name
from study.report.charts import Chart, draw
from study.report.configuration_table import configuration_rows
from study.report.confusion_tables import CONFUSION, class_accuracy_table, confusion_table
from study.report.formatting import (
    Table,
    format_count,
    percent,
    score_header,
    setting_cells,
    setting_header,
    settings_in_words,
    tuned_in_words,
)
from study.report.further_scores import further_header
from study.report.interaction_tables import interaction_table
from study.report.ladder_table import ladder_table
from study.report.leaderboard_tables import (
    budget_table,
    configuration_table,
    main_table,
    target_table,
)
from study.report.names import candidate_name, entry_name
from study.report.pictures import Datasets, make_gallery
from study.report.scope import leaderboard_scope
from study.report.site_descriptions import subset_in_words
from study.report.site_share_tables import share_sentences, share_table
from study.report.study_description import champion_sentence
from study.report.verdict import (
    headline,
    judge_choice,
    validation_findings,
    verdict,
)
from study.results.ablation import ablation_table
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard
from study.results.site_shares import site_shares
from study.results.study_results import BASELINE, Results, TrialResult
from study.storage.atomic import write_atomically


def write_report(
    results: Results, board: Leaderboard, plots: Sequence[Chart], datasets: Datasets | None = None
) -> Path:
    """Write `report.html`, which needs no other file or network, into the study's folder.

    Args:
        results: the results of the study.
        board: its leaderboard.
        plots: the charts from `make_plots`.
        datasets: the datasets that were read already, for pictures; see `make_gallery`.

    Returns:
        The path of the report.

    Raises:
        LedgerError: a file of predictions is damaged.
    """
    path = results.folder.path / "report.html"
    write_atomically(path, render_report(results, board, plots, datasets))
    return path


def render_report(
    results: Results, board: Leaderboard, plots: Sequence[Chart], datasets: Datasets | None = None
) -> str:
    """Return the report as HTML; arguments and errors are those of `write_report`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = _encoded_svg
    template = environment.get_template("report.html.jinja")
    return template.render(
        **_content(results, board, datasets or {}),
        plots=[plot for plot in plots if not plot.name.startswith(CONFUSION)],
        maps=[plot for plot in plots if plot.name.startswith(CONFUSION)],
    )


def _encoded_svg(chart: Chart) -> str:
    return base64.b64encode(draw(chart, "svg")["svg"]).decode("ascii")


def _content(results: Results, board: Leaderboard, datasets: Datasets) -> dict[str, Any]:
    study = results.study
    config, protocol = study.config, study.protocol()
    winner, kept, registration = board.winner, board.best_with_delta, results.registration
    begun = headline(board)
    return {
        "name": results.folder.name,
        "subtitle": f"{config.data.dataset}, {config.protocol.replace('_', '-')}, "
        + (f"{config.data.shots} images a class, " if protocol.trains else "")
        + config.backbone.name,
        "headline": begun,
        "tuned": _tuned(board.chosen) if board.chosen else None,
        "verdict": judge_choice(board) if begun else verdict(board),
        "configuration": configuration_rows(results),
        "scores": main_table(board),
        "ladder": ladder_table(board),
        "targets": target_table(board),
        "configurations": configuration_table(board),
        "budgets": budget_table(board),
        "scope": leaderboard_scope(board),
        "doubts": validation_findings(board),
        "winner": winner,
        "chosen": board.chosen,
        "has_search": protocol.searches(config),
        "chosen_before": board.chosen_before,
        "kept": kept,
        "kept_name": kept and entry_name(board, kept),
        "kept_settings": kept and settings_in_words(kept.settings),
        "loading": None if kept is None else _loading(results, config, kept),
        "registered": registration and champion_sentence(registration, board),
        "serving": registration and f"import mlflow\n\n{registration.loading_line()}",
        "classes": class_accuracy_table(results, board),
        "confusions": confusion_table(results, board),
        "gallery": make_gallery(results, board, datasets),
        "mattered": _mattered(results) if protocol.searches(config) else None,
        "ablation": _ablation(results),
        "searched": _searched(results.stage("search")),
        "confirmed": _confirmed(results),
        "yaml": study.folder.config_path.read_text(encoding="utf-8"),
        "identity": sorted(results.identity.items()),
    }


def _tuned(chosen: Entry) -> dict[str, Any]:
    """Return which sites the choice tunes, and what they are."""
    linear = chosen.settings.head == "linear"
    nothing = chosen.settings.subset == "none" and chosen.settings.peer is None
    return {
        "sentence": f"It tunes {tuned_in_words(chosen.settings)}"
        + (", and a linear head" if linear else "")
        + f": {format_count(chosen.trainable)} numbers. Validation chose it"
        + (", before any test image was read." if chosen.is_winner else "."),
        "sites": () if nothing else subset_in_words(chosen.settings.subset),
    }


def _mattered(results: Results) -> dict[str, Any]:
    shares = site_shares(results)
    return {
        "sentences": share_sentences(results, shares),
        "table": share_table(shares),
        "command": ablation_command(results),
    }


def _loading(results: Results, config: StudyConfig, kept: Entry) -> str | None:
    # The first seed, not the best on test: that would be selecting on test.
    deltas = (
        f"trials/{trial.trial_id}/delta.safetensors"
        for trial in sorted(results.confirmed(kept.label), key=lambda trial: trial.seed)
    )
    first = next((delta for delta in deltas if (results.folder.path / delta).is_file()), None)
    if first is not None and kept.settings.head == "linear":
        imported, given = "", ""
        if config.data.ensemble:  # new classes are tested with the mean of all templates
            imported = "from study.method.delta import load_delta\n"
            given = ", templates=load_delta(delta)[1].templates"
        return (
            f"from pathlib import Path\n\n{imported}"
            "from study.serving.classifier import load_classifier\n\n"
            f'delta = Path("{first}")\n'
            f"classifier = load_classifier(delta{given})\n"
            'print(classifier.class_names, classifier.probabilities(["image.png"]))\n'
        )
    return first and (
        "from pathlib import Path\n\n"
        "from study.embedded import backbone_path\n"
        "from study.backbones.load_backbone import load_backbone\n"
        "from study.method.delta import apply_delta, load_delta\n\n"
        f"backbone = load_backbone(backbone_path({config.backbone.name!r}), "
        f"revision={config.backbone.revision!r})\n"
        f'tensors, info = load_delta(Path("{first}"))\n'
        "apply_delta(backbone.clip, tensors)  # a model of transformers, now tuned\n"
        "print(info.subset, info.class_names, info.templates)\n"
    )


def _ablation(results: Results) -> dict[str, Any] | None:
    """Return the ablation with the base `BASE`, if there is one; others are not in the report."""
    try:
        table = ablation_table(results)
    except DataError:
        return None
    return {
        "verdict": ablation_verdict(table),
        "cells": cell_table(table),
        "pairs": interaction_table(table.interactions),
        "settings": setting_table(table),
        "plots": ablation_plots(table),
    }


def _searched(searched: Sequence[TrialResult]) -> Table:
    return Table(
        "",
        [
            # The score is beside the name, since a narrow screen would hide the last columns.
            *("trial", "validation %", "part of the search", "ended", "tunes", "epochs"),
            *setting_header(),
            "trainable",
        ],
        [
            [
                trial.trial_id,
                percent(trial.val_score),
                candidate_name(trial.label) if trial.arm == BASELINE else arm_name(trial.arm),
                ": ".join(filter(None, (trial.status, trial.reason))),
                tuned_in_words(trial.settings),
                f"{trial.epochs}/{trial.epochs_planned}",
                *setting_cells(trial.settings),
                format_count(trial.trainable),
            ]
            for trial in sorted(
                searched, key=lambda t: (t.val_score is None, -(t.val_score or 0.0))
            )
        ],
        left=5,
    )


def _confirmed(results: Results) -> Table:
    names = (*results.parts, "score", *results.further_names)
    return Table(
        "",
        [
            *("candidate", "ended", "seed", "epochs"),
            *score_header(results.parts, "test"),
            *further_header(results),
        ],
        [
            [
                trial.label,
                ": ".join(filter(None, (trial.status, trial.reason))),
                trial.seed,
                trial.epochs,
                *(percent(trial.test.get(name)) for name in names),
            ]
            for trial in sorted(results.stage("confirm"), key=lambda t: (t.label, t.seed))
        ],
        left=2,
    )
