"""The last lines of a run: scores, comparisons, the final model, and commands to run next."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from study.report.formatting import format_count, format_mean
from study.report.names import candidate_name
from study.report.setting_descriptions import settings_in_words
from study.report.terminal import amount
from study.report.verdict import (
    describe_comparison,
    final_training,
    metric_name,
    reference_scores,
    verdict,
)
from study.results.study_result import StudyResult
from study.storage.command_lines import PROGRAM, study_command
from study.trial.search_time import seconds_used

_LONGEST = 50
"""The most characters of a configuration's words here; the tables have all of them."""
_MOST_LINES = 12
"""The most lines at the end of a run; the least needed are the last."""


def findings(result: StudyResult) -> list[tuple[str, str]]:
    """Return what a study found: pairs of a word and a text."""
    best = result.best_by_validation
    if result.ablation or not best or not result.has_search:
        return [("found", sentence) for sentence in verdict(result)]
    score = f"{format_mean(best.test, ' %')} {metric_name(result)}"
    found = [("test", f"{score} (95 % interval, {amount(best.test.n, 'seed')})")]
    others = ", ".join(reference_scores(result, unit=""))
    if others:
        found.append(("others %", others))
    if not result.best:
        settings = _short(settings_in_words(best.settings))
        return [*found, ("selected", f"{settings}; it doesn’t beat chance")]
    if best.against_chance and not best.against_chance.is_proven:
        found.append(("chance", "not significantly better than chance"))
    settings = _short(settings_in_words(best.settings))
    found.append(("best", f"{settings} ({format_count(best.trainable)} parameters)"))
    for label, comparison in result.comparisons.items():
        text = f"{candidate_name(label)} {describe_comparison(comparison)}"
        found.append(("against", text))
    final = result.final
    if final and final.row is not best:
        settings = _short(settings_in_words(final.row.settings))
        found.append(("final", f"{settings} (saved as a delta)"))
    if final and final.trial:
        found.append(("final", final_training(final)))
    return found


def next_steps(
    result: StudyResult, viewing_hints: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Return what a user may want to see or type next: pairs of a word and a text, first to last.

    Args:
        result: the result of the study.
        viewing_hints: where to look in a tracker; see `study.tracking.tracker.TrackerMessages`.
    """
    folder = result.folder.path
    # Of the hints the first, such as how to start a server, and the last, the sorted trials.
    hints = [*viewing_hints[:1], *viewing_hints[1:][-1:]]
    steps = [("report", str(_from_here(folder / "report.html"))), *hints]
    tuned = [entry for entry in result.rows if entry.trainable]
    trials = result.test_trials(tuned[0].label) if len(tuned) == 1 else []
    deltas = [folder / f"trials/{trial.trial_id}/delta.safetensors" for trial in trials]
    if result.best:
        steps.append(("predict", f"{study_command('predict', folder)} FOLDER"))
    elif deltas and deltas[0].exists() and not result.has_search:
        delta = shlex.quote(str(_from_here(deltas[0])))
        steps.append(("predict", f"{PROGRAM} predict {delta} FOLDER"))
    if result.registration:
        address = result.registration.address
        steps.append(
            ("model", address if result.registration.champion else f"{address} (no champion)")
        )
    if result.has_search and not result.ablation:
        changes = ["search.trials=+50"]
        minutes = result.config.search.minutes
        if minutes is not None:  # as many again, and `extend` takes nothing below what was used
            minutes += max(minutes, math.ceil(seconds_used(result.folder) / 60))
            changes.append(f"search.minutes={minutes:g}")
        steps.append(("extend", study_command("extend", folder, *changes)))
    steps.append(("tables", study_command("leaderboard", folder)))
    return steps[: _MOST_LINES - len(findings(result))]


def _short(words: str) -> str:
    """Return the words of a configuration, cut between words where they are long."""
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST].rpartition(' ')[0]} …"


def _from_here(path: Path) -> Path:
    """Return a path relative to the working folder, if it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
