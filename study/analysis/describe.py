"""The few lines on a study's parent run in MLflow: what won, by how much, where the rest is."""

from __future__ import annotations

from pathlib import Path

from study.analysis.confirmation import leaderboard
from study.analysis.leaderboard import to_markdown
from study.analysis.wording import validation_findings, verdict


def describe_study(folder: Path) -> str:
    """Give a finished study's description in Markdown."""
    board = leaderboard(folder)
    sentences = [*verdict(board), *validation_findings(board)]
    return "\n\n".join(
        [
            " ".join(sentences),
            to_markdown(board),
            "The best run's tuned parameters are in its artifact `delta.safetensors`; "
            "`report.html` among this run's artifacts tells the whole.",
        ]
    )
