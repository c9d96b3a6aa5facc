"""The last lines of a run: the score, what won, what ships, and what to type next."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from study.report.ablation_tables import ablation_verdict
from study.report.sentences import rows
from study.results.ablation import ablation_table
from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.selection.patience import read_search_end
from study.storage.command_lines import (
    PROGRAM,
    extend_command,
    leaderboard_command,
    predict_command,
)
from study.storage.study_folder import CHAMPION

LONGEST = 60
"""The most characters of a configuration's words here; the tables have all of them."""

MOST = 3
"""The most configurations that are listed where nothing was searched."""


def findings(results: Results, board: Leaderboard) -> list[tuple[str, str]]:
    """Return what a study found: pairs of a word and a text."""
    return rows(
        "report/findings",
        board=board,
        ablation=ablation_verdict(ablation_table(results)) if results.ablates else (),
        search_end=read_search_end(results.folder),
        longest=LONGEST,
        most=MOST,
    )


def next_steps(results: Results, board: Leaderboard) -> Iterator[tuple[str, str]]:
    """Yield what to look at and to type next, as a word and a file or command each."""
    folder = results.folder.path
    yield "report", str(_from_here(folder / "report.html"))
    deltas = sorted(folder.glob("trials/confirm-*/delta.safetensors"))
    tuned = [entry for entry in board.entries if entry.trainable]
    if board.winner:
        yield "label", predict_command(folder)
    elif len(tuned) == 1 and deltas and not board.has_search:
        yield "label", f"{PROGRAM} predict {shlex.quote(str(_from_here(deltas[0])))} FOLDER"
    if board.has_search and not results.ablates:
        changes = ["search.trials=+50"]
        minutes = results.config.search.minutes
        if minutes is not None:  # which `extend` must raise as well
            changes.append(f"search.minutes={2 * minutes:g}")
        if read_search_end(results.folder):
            changes.append("search.patience=null")
        yield "go on", extend_command(folder, *changes)
    yield "tables", leaderboard_command(folder)
    registration = results.registration
    if registration:
        standing = "" if registration.champion else f" (not {CHAMPION}, see the report)"
        yield "model", f"{registration.address}{standing}"


def _from_here(path: Path) -> Path:
    """Return a path relative to the working folder, if it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
