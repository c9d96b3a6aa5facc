"""The few lines on a study's parent run in MLflow: what won, by how much, where the rest is."""

from __future__ import annotations

from pathlib import Path

from study.analysis.ablation import ablation_table
from study.analysis.ablation_output import to_markdown as ablation_markdown
from study.analysis.confirmation import PUBLISHED, TUNED, Leaderboard, leaderboard
from study.analysis.leaderboard import to_markdown
from study.analysis.results import read_results
from study.analysis.wording import (
    NAMES,
    count,
    difference,
    interval,
    judgement,
    percent,
    rate,
)
from study.ledger import Registration, StudyFolder

CHAMPION = "champion"


def describe_study(folder: Path) -> str:
    """Give a finished study's description in Markdown."""
    if (folder / "cells.json").exists():
        return ablation_markdown(ablation_table(read_results(folder).to_pylist()))
    board, registration = leaderboard(folder), StudyFolder(folder).registration
    loading = [] if registration is None else [_how_to_load(registration)]
    # MLflow folds all but the first lines away, and the page already has the study's name.
    _, told = to_markdown(board).split("\n\n", 1)
    return "\n\n".join(
        [
            *_headline(folder, board),
            *loading,
            told,
            "`report.html` among this run's artifacts tells the whole.",
        ]
    )


def loading_line(registration: Registration, *, lasting: bool = False) -> str:
    """Give the line of Python that loads a winner.

    Args:
        registration: where it is registered.
        lasting: name the version even where it is champion: the alias may move on.
    """
    alias = registration.champion and not lasting
    address = f"models:/{registration.model}@{CHAMPION}" if alias else registration.uri
    return f'mlflow.pyfunc.load_model("{address}").predict(["image.png"])'


def champion_sentence(registration: Registration) -> str:
    """Say whether the winner is champion, and why."""
    verb = "is" if registration.champion else "is not"
    return (
        f"Version {registration.version} of {registration.model} {verb} {CHAMPION}: "
        f"{registration.reason}."
    )


def _headline(folder: Path, board: Leaderboard) -> list[str]:
    """Say what won and by how much, then which run it is and how it was trained."""
    winner = board.winner
    if winner is None:
        return []
    name = f"the baseline {winner.name}, " if winner.baseline else ""
    result = f"**Winner: {name}`{winner.subset or 'none'}`, {interval(winner.test)} % on test**"
    if board.base_to_new:
        result += f" (base {interval(winner.base)}, new {interval(winner.new)})"
    against = [
        f"{difference(comparison.paired)} points against {NAMES[baseline]}"
        f" ({judgement(comparison)})"
        for baseline, comparison in (
            (TUNED, winner.versus_tuned),
            (PUBLISHED, winner.versus_published),
        )
        if comparison is not None
    ]
    labels = {row["trial_id"]: row["label"] for row in read_results(folder).to_pylist()}
    settings = [
        f"{what} {rate(value)}"
        for what, value in (
            ("learning rate of biases", winner.bias_lr),
            ("learning rate of LayerNorms", winner.ln_lr),
            ("λ", winner.distill_weight if winner.trainable else None),
        )
        if value is not None
    ]
    chosen = (
        f"`{labels.get(winner.source_trial, winner.label)} ★`, the best by validation "
        f"({percent(winner.val_score)} %)"
    )
    trained = ", ".join([*settings, f"{count(winner.trainable)} trainable parameters"])
    return ["; ".join([result, *against]) + ".", f"{chosen}: {trained}."]


def _how_to_load(registration: Registration) -> str:
    line = loading_line(registration, lasting=True)
    return f"```python\n{line}\n```\n\n{champion_sentence(registration)}"
