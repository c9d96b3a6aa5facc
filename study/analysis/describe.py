"""The few lines on a study's parent run in MLflow: what won, by how much, where the rest is."""

from __future__ import annotations

from pathlib import Path

from study.analysis.confirmation import leaderboard
from study.analysis.leaderboard import to_markdown


def describe_study(folder: Path) -> str:
    """Give a finished study's description in Markdown."""
    return "\n\n".join(
        [
            to_markdown(leaderboard(folder)),
            "The best run's tuned parameters are in its artifact `delta.safetensors`; "
            "`report.html` among this run's artifacts tells the whole.",
        ]
    )
