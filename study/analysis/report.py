"""One self-contained HTML page that explains a study to readers who never saw the code.

Run as `python -m study.analysis.report runs/NAME`.
"""

import argparse
import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.analysis.ablation import ablation_table, ablation_verdict
from study.analysis.ablation_output import cell_table, setting_table
from study.analysis.ablation_plots import ablation_plots
from study.analysis.charts import Plot
from study.analysis.classes import class_accuracies, confusions
from study.analysis.comparison import Entry, Leaderboard, Row, leaderboard
from study.analysis.describe import champion_sentence, loading_line
from study.analysis.formatting import (
    count,
    percent,
    points,
    rate,
    validation_findings,
    verdict,
)
from study.analysis.leaderboard import (
    budget_table,
    configuration_table,
    footnote,
    main_table,
    target_table,
)
from study.analysis.occupancy import Occupancy, occupancy
from study.analysis.plots import PLOTLY_CONFIG, make_plots
from study.analysis.results import open_study, read_results
from study.config.loading import load_config
from study.config.schema import AblationConfig, StudyConfig
from study.embedded import EMBEDDED
from study.errors import DataError, StudyError
from study.selection.candidates import selection_used
from study.storage.atomic import write_atomically
from study.storage.ledger import StudyFolder

REPORT_FILE = "report.html"
TEMPLATE_FILE = "report.html.jinja"

_PROTOCOLS = {
    "few_shot": "Few-shot: a model learns from a few images of every class, and is scored by its "
    "accuracy on the test images of all classes.",
    "base_to_new": "Base to new: a model learns from a few images of the first half of the classes "
    "(base). It is scored by the harmonic mean of its accuracy on test images of those and of the "
    "other half (new), of which it never saw an image.",
    "transfer": "Transfer: a model learns from a few images of every class of one dataset, the "
    "source, and is scored by its mean accuracy on the test images of other datasets, each with "
    "the names of its own classes. Whatever is chosen is chosen on the source.",
    "zero_shot": "Zero-shot: nothing is trained; the backbone is scored as it is by its accuracy "
    "on all test images, the mean over the datasets where there are several.",
}
_SELECTIONS = {
    "holdout": "on validation images of the same classes, drawn beside the training images",
    "folds": "by cross-validation over the training and validation images",
    "class_folds": "by leaving out base classes in turn: on held-out images of the kept ones, and "
    "on the left-out ones as stand-ins for new classes",
    "base": "on validation images of the base classes alone, which tells little of new classes: "
    "the choice is weak",
}


_DESIGNS = {
    "only_one": "each site alone, and the base",
    "leave_one_out": "the base, and the base without each of its sites",
    "layers": "the base, and the base in windows of layers",
    "grid": "given subsets, and the base",
}


@dataclass(frozen=True)
class Grid:
    """A table as the template draws it."""

    header: Sequence[str]
    """The names of the columns."""
    rows: Sequence[Sequence[str]]
    """The cells as text, which the template escapes."""
    left: int = 1
    """The number of leading columns that hold words rather than numbers."""
    marked: int | None = None
    """The index of the row to highlight, if any."""


@dataclass(frozen=True)
class DrawnPlot:
    """A plot as the template draws it."""

    title: str
    caption: str
    fragment: str
    """The plot as trusted HTML; empty when it cannot be drawn."""
    png: str
    """The plot as a PNG in base64; empty when it cannot be drawn."""
    missing: str | None
    """The reason why the plot cannot be drawn, if so."""


def write_report(folder: Path, plots: Sequence[Plot] | None = None) -> Path:
    """Write `report.html`, which needs no other file or network, into the study's folder.

    Args:
        folder: the study's folder, `runs/NAME`.
        plots: the plots from `make_plots`; None means that they are drawn first.

    Returns:
        The path of the report.

    Raises:
        StudyError: the folder holds no study, or a file of it is damaged.
    """
    path = folder / REPORT_FILE
    write_atomically(path, render_report(folder, plots))
    return path


def render_report(folder: Path, plots: Sequence[Plot] | None = None) -> str:
    """Return the report as HTML; arguments and errors are those of `write_report`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    study = open_study(folder)
    content = _content(study, leaderboard(folder))
    drawn = [_draw(plot) for plot in (make_plots(folder) if plots is None else plots)]
    figures = drawn + (content["ablation"]["plots"] if content["ablation"] else [])
    page = environment.get_template(TEMPLATE_FILE).render(
        **content,
        plots=drawn,
        plotly=get_plotlyjs() if any(plot.fragment for plot in figures) else "",
    )
    return str(page)


def _content(study: StudyFolder, board: Leaderboard) -> dict[str, Any]:
    folder = study.path
    config = load_config(study.config_path)
    rows = read_results(folder).to_pylist()
    winner, registration = board.winner, study.registration
    classes = class_accuracies(folder, board)
    # A choice no better than chance is no winner, but its classes are shown to explain why.
    chosen = "choice" if winner is None else "winner"
    return {
        "name": study.name,
        "subtitle": f"{config.data.dataset}, {config.protocol.replace('_', '-')}, "
        + ("" if config.protocol == "zero_shot" else f"{config.data.shots} images a class, ")
        + config.backbone.name,
        "verdict": verdict(board),
        "asked": _asked(config, board, rows, occupancy(folder)),
        "scores": _scores(board),
        "targets": Grid(*target_table(board)),
        "configurations": Grid(*configuration_table(board), left=2, marked=_winner_row(board)),
        "budgets": Grid(*budget_table(board)),
        "footnote": footnote(board),
        "doubts": validation_findings(board),
        "winner": winner,
        "chosen": board.chosen,
        "has_search": config.searches,
        "chosen_before": board.chosen_before,
        "settings": [] if winner is None else _settings(winner),
        "loading": None if winner is None else _loading(study, config, winner, rows),
        "registered": registration and champion_sentence(registration),
        "serving": registration and f"import mlflow\n\n{loading_line(registration)}",
        "classes": Grid(
            ["class", "part", "zero-shot %", f"{chosen} %", "gain"],
            [
                [
                    entry.name,
                    entry.part,
                    percent(entry.before),
                    percent(entry.after),
                    "–" if entry.gain is None else points(entry.gain),
                ]
                for entry in classes
            ],
            left=2,
        ),
        "confusions": Grid(
            ["images of", "taken for", "part", "zero-shot %", f"{chosen} %"],
            [
                [c.true, c.predicted, c.part, percent(c.before), percent(c.after)]
                for c in confusions(folder, board)
            ],
            left=3,
        ),
        "ablation": _ablation(rows),
        "searched": _searched(rows),
        "confirmed": _confirmed(rows),
        "yaml": study.config_path.read_text(encoding="utf-8"),
        "identity": sorted((study.read_json("identity.json") or {}).items()),
    }


def _asked(
    config: StudyConfig, board: Leaderboard, rows: Sequence[Row], time: Occupancy | None
) -> list[tuple[str, str]]:
    search, space = config.search, config.search.space
    val_shots = config.data.val_shots or min(config.data.shots, 4)
    spent = "; ".join(f"{arm.arm}: {arm.trials} trials, {arm.epochs} epochs" for arm in board.arms)
    rates = (
        f"biases {_range(space.rates['bias'])}, LayerNorms {_range(space.rates['ln'])}, "
        f"λ {_range(space.distill_weight)}"
    )
    tested = ", ".join(config.data.targets)
    where = f"{config.data.dataset}; tested on {tested} as well" if tested else config.data.dataset
    if config.ablation is not None:
        return _ablated(config, config.ablation, where, rows)
    if not config.searches:
        return _tested_as_given(config, where)
    return [
        ("Question", "Which of CLIP’s own biases and LayerNorms should be tuned, and how fast?"),
        ("Dataset", where),
        ("Protocol", _PROTOCOLS[config.protocol]),
        ("Images", f"{config.data.shots} a class to train, {val_shots} a class to validate"),
        ("Backbone", _backbone(config)),
        ("Choice", f"Trials were compared {_rule(config, rows)}. Never on test images."),
        ("Parameters to choose from", ", ".join(space.sites)),
        ("Learning rates", rates),
        ("Training", f"{config.training.epochs} epochs, {config.training.optimizer}"),
        ("Search", f"{search.trials} trials planned ({search.sampler}). Run: {spent or 'none'}"),
        *([("Time", str(time))] if time else []),
        ("Test", f"{len(config.confirm.seeds)} seeds, each with its own training images"),
    ]


def _ablated(
    config: StudyConfig, ablation: AblationConfig, where: str, rows: Sequence[Row]
) -> list[tuple[str, str]]:
    tried = ", ".join(rate(value) for value in ablation.rates)
    choice = f"{tried}, the same for every cell"
    if len(ablation.rates) > 1:
        choice = (
            f"{tried}: each cell at the best of them, compared {_rule(config, rows)}. "
            "Never on test images."
        )
    return [
        ("Question", "Which parameters matter? Cells that tune different ones beside one base."),
        ("Dataset", where),
        ("Protocol", _PROTOCOLS[config.protocol]),
        ("Images", f"{config.data.shots} a class to train"),
        ("Backbone", _backbone(config)),
        ("Cells", _DESIGNS[ablation.design]),
        ("Learning rates", choice),
        ("Training", f"{config.training.epochs} epochs, {config.training.optimizer}"),
        ("Test", f"{len(config.shot_seeds)} seeds, each with its own training images"),
    ]


def _tested_as_given(config: StudyConfig, where: str) -> list[tuple[str, str]]:
    described = [
        ("Question", "How do these configurations do? Nothing is searched or chosen."),
        ("Dataset", where),
        ("Protocol", _PROTOCOLS[config.protocol]),
        ("Backbone", _backbone(config)),
    ]
    if config.protocol == "zero_shot":
        return described
    return [
        *described,
        ("Images", f"{config.data.shots} a class to train"),
        ("Training", f"{config.training.epochs} epochs, {config.training.optimizer}"),
        ("Test", f"{len(config.shot_seeds)} seeds, each with its own training images"),
    ]


def _backbone(config: StudyConfig) -> str:
    if config.backbone.name == EMBEDDED:
        return "the small CLIP that comes with this package"
    revision = config.backbone.revision
    return f"{config.backbone.name}, revision {revision}" if revision else config.backbone.name


def _rule(config: StudyConfig, rows: Sequence[Row]) -> str:
    folded = next((row for row in rows if row["val_new"] is not None), {})
    return _SELECTIONS[selection_used(config, folded)]


def _range(bounds: tuple[float, float]) -> str:
    return f"{rate(bounds[0])} to {rate(bounds[1])}"


def _scores(board: Leaderboard) -> Grid:
    return Grid(*main_table(board), marked=_winner_row(board))


def _winner_row(board: Leaderboard) -> int | None:
    return next((index for index, entry in enumerate(board.entries) if entry.winner), None)


def _settings(winner: Entry) -> list[tuple[str, str]]:
    return [
        ("Subset to tune", winner.subset or "none"),
        ("Learning rate of biases", rate(winner.bias_lr)),
        ("Learning rate of LayerNorms", rate(winner.ln_lr)),
        ("λ (distillation weight)", rate(winner.distill_weight) if winner.trainable else "–"),
        ("Trainable parameters", count(winner.trainable)),
    ]


def _loading(
    study: StudyFolder, config: StudyConfig, winner: Entry, rows: Sequence[Row]
) -> str | None:
    trained = [
        row
        for row in rows
        if row["stage"] == "confirm"
        and row["label"] == winner.label
        and (study.path / "trials" / row["trial_id"] / "delta.safetensors").is_file()
    ]
    if not trained:
        return None
    # The first seed, not the best on test: that would be selecting on test.
    first = min(trained, key=lambda row: row["seed"])
    return (
        "from pathlib import Path\n\n"
        "from study.embedded import backbone_path\n"
        "from study.method.delta import apply_delta, load_delta\n"
        "from study.method.model import load_backbone\n\n"
        f"backbone = load_backbone(backbone_path({config.backbone.name!r}), "
        f"revision={config.backbone.revision!r})\n"
        f'tensors, info = load_delta(Path("trials/{first["trial_id"]}/delta.safetensors"))\n'
        "apply_delta(backbone.clip, tensors)  # an ordinary transformers CLIPModel, now tuned\n"
        "print(info.subset, info.class_names, info.templates)\n"
    )


def _ablation(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return the ablation with the base `BASE`, if there is one; others are not in the report."""
    if not any(row["stage"] == "ablation" for row in rows):
        return None
    try:
        table = ablation_table(rows)
    except DataError:
        return None
    return {
        "verdict": ablation_verdict(table),
        "cells": Grid(*cell_table(table)),
        "settings": Grid(*setting_table(table), left=2),
        "plots": [_draw(plot) for plot in ablation_plots(table)],
    }


def _searched(rows: Sequence[Row]) -> Grid:
    searched = [row for row in rows if row["stage"] == "search"]
    searched.sort(key=lambda row: (row["val_score"] is None, -(row["val_score"] or 0.0)))
    # The score is beside the name, since a narrow screen would hide the last columns.
    header = ["trial", "validation %", "arm", "ended", "subset"]
    return Grid(
        [*header, "epochs", "bias lr", "LN lr", "λ", "trainable"],
        [
            [
                row["trial_id"],
                percent(row["val_score"]),
                row["label"] if row["arm"] == "baseline" else row["arm"],
                _ended(row),
                row["subset"] or "none",
                f"{row['epochs']}/{row['epochs_planned']}",
                rate(row["bias_lr"]),
                rate(row["ln_lr"]),
                rate(row["distill_weight"]) if row["trainable"] else "–",
                count(row["trainable"]),
            ]
            for row in searched
        ],
        left=5,
    )


def _ended(row: Row) -> str:
    return f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]


def _confirmed(rows: Sequence[Row]) -> Grid:
    confirmed = [row for row in rows if row["stage"] == "confirm"]
    parts = ["base", "new"] if any(row["test_base"] is not None for row in confirmed) else []
    return Grid(
        ["candidate", "ended", "seed", "epochs", *(f"{part} %" for part in parts), "test %"],
        [
            [
                row["label"],
                _ended(row),
                str(row["seed"]),
                str(row["epochs"]),
                *(percent(row[f"test_{part}"]) for part in parts),
                percent(row["test_score"]),
            ]
            for row in sorted(confirmed, key=lambda row: (row["label"], row["seed"]))
        ],
        left=2,
    )


def _draw(plot: Plot) -> DrawnPlot:
    from plotly.io import to_html

    fragment, png = "", ""
    if plot.figure is not None and plot.png is not None:
        fragment = to_html(
            plot.figure, include_plotlyjs=False, full_html=False, config=PLOTLY_CONFIG
        )
        png = base64.b64encode(plot.png).decode("ascii")
    return DrawnPlot(plot.title, plot.caption, fragment, png, plot.missing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of one study and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m study.analysis.report", description="Write a study's report.html."
    )
    parser.add_argument("folder", type=Path, help="the study's folder, runs/NAME")
    options = parser.parse_args(arguments)
    try:
        print(write_report(options.folder))
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
