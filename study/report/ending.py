"""The last lines of a run: the score, what won, what ships, and what to type next."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from study.config.labels import TUNED, ZERO_SHOT
from study.report.ablation_tables import ablation_verdict
from study.report.formatting import format_count, format_difference, format_mean, percent
from study.report.names import entry_name, rival_name
from study.report.setting_descriptions import settings_in_words
from study.report.shipping import shipped_name
from study.report.verdict import describe_score, judgement, metric_name
from study.results.ablation import ablation_table
from study.results.entries import Entry
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


def findings(results: Results, board: Leaderboard) -> Iterator[tuple[str, str]]:
    """Yield what a study found, as a word and a short text each.

    All that is behind it is in the report, and in what the command ``leaderboard`` prints.
    """
    choice = board.chosen
    if results.ablates:
        yield "found", next(ablation_verdict(ablation_table(results)))
    elif not choice or not board.has_search:
        yield "tested", _describe_tested(board)
    else:
        yield "score", f"{describe_score(choice.test)} {metric_name(board)} on test"
        yield "beside", _describe_references(board, choice)
        yield from _describe_winner(board, choice)
        end = read_search_end(results.folder)
        if end:
            yield "search", f"ended early, after {end.trials} trials (search.patience)"


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


def _describe_tested(board: Leaderboard) -> str:
    """Return what a study has tested that has chosen nothing, or whose choice has no score."""
    if not board.entries:
        return "nothing yet"
    scores = []
    for entry in board.entries[:MOST]:
        scores.append(f"{entry_name(board, entry)} {format_mean(entry.test, ' %')}")
    if len(board.entries) > MOST:
        scores.append(f"and {len(board.entries) - MOST} more")
    return f"{metric_name(board)} of {', '.join(scores)}"


def _describe_references(board: Leaderboard, choice: Entry) -> str:
    """Return the scores of zero-shot CLIP and of guessing, and a doubt that guessing is beaten."""
    texts = []
    zero_shot = board.find_entry(ZERO_SHOT)
    if zero_shot:
        texts.append(f"zero-shot CLIP {format_mean(zero_shot.test, ' %')}")
    if choice.balanced and board.chance is not None:
        text = f"chance {percent(board.chance)} %"
        balanced = percent(choice.balanced.mean)
        if balanced != percent(choice.test.mean):
            text += f" (balanced score: {balanced} %)"
        texts.append(text)
    if choice.against_chance and not choice.against_chance.is_proven:
        texts.append("not shown to beat chance")
    return ", ".join(texts)


def _describe_winner(board: Leaderboard, choice: Entry) -> Iterator[tuple[str, str]]:
    words = settings_in_words(choice.settings)
    if len(words) > LONGEST:
        words = f"{words[:LONGEST].rpartition(' ')[0]} …"
    if not board.winner:
        yield "chosen", f"{words}; it does not beat chance, so there is no winner"
        return
    text = f"{words} ({format_count(choice.trainable)} numbers)"
    comparison = board.planned_comparisons.get(TUNED)
    if comparison:
        difference = f"{format_difference(comparison)} points: {judgement(comparison)}"
        text += f"; against {rival_name(board, TUNED)} {difference}"
    yield "winner", text
    refit = board.refit
    if refit:
        text = shipped_name(board)
        if refit.images is not None:
            text += f", trained on {format_count(refit.images)} images"
        score = "not tested"
        if refit.test:
            score = f"{percent(refit.test.mean)} % on test"
        yield "ships", f"{text}: {score}"
    elif board.shipped is not board.winner:
        yield "ships", f"{shipped_name(board)}, as it was tested"
