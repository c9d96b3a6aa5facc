"""The last lines of a run: the score, what won, the final model, and what to type next."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from study.report.ablation_tables import ablation_verdict
from study.report.final_model import final_model_line
from study.report.sentences import rows
from study.results.study_result import StudyResult
from study.storage.command_lines import (
    PROGRAM,
    study_command,
)
from study.storage.study_folder import CHAMPION
from study.trial.search_time import seconds_used

LONGEST = 60
"""The most characters of a configuration's words here; the tables have all of them."""

MOST = 3
"""The most configurations that are listed where nothing was searched."""


def findings(board: StudyResult) -> list[tuple[str, str]]:
    """Return what a study found: pairs of a word and a text."""
    found = rows(
        "report/findings",
        board=board,
        ablation=ablation_verdict(board.ablation) if board.ablation else (),
        longest=LONGEST,
        most=MOST,
    )
    final = final_model_line(board)
    if final:
        found.append(("final", final))
    return found


def next_steps(
    board: StudyResult, viewing_hints: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Return what a user may want to see or type next: pairs of a word and a text, first to last.

    Args:
        board: the leaderboard of the study.
        viewing_hints: where to look in a tracker; see `study.tracking.tracker.TrackerLines`.
    """
    folder = board.folder.path
    deltas = sorted(folder.glob("trials/test-*/delta.safetensors"))
    minutes = board.config.search.minutes
    if minutes is not None:  # as many again, and `extend` takes nothing below what was used
        minutes += max(minutes, math.ceil(seconds_used(board.folder) / 60))
    report, *commands = rows(
        "report/next_steps",
        board=board,
        folder=folder,
        minutes=minutes,
        report=_from_here(folder / "report.html"),
        deltas=[shlex.quote(str(_from_here(delta))) for delta in deltas],
        program=PROGRAM,
        champion=CHAMPION,
        study_command=study_command,
    )
    tables = "tables", study_command("leaderboard", folder)
    return [report, *viewing_hints, *commands, tables]


def _from_here(path: Path) -> Path:
    """Return a path relative to the working folder, if it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
