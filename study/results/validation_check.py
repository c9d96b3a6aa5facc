"""How well validation ranked the candidates that were tested."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from study.results.entries import Entry
from study.results.statistics import RankAgreement, rank_agreement
from study.results.trial_results import BASE_PART, TrialResult

CLOSE_TO_BEST = 0.02
"""How far below the best by validation candidates count as close to it, a fraction.

A correlation over all is large where some candidate, such as CLIP as it is, is far below the rest.
"""
_ROUNDING = 1e-9


class ValidationCheck(NamedTuple):
    """The agreement of validation and test about the candidates."""

    agreement: RankAgreement | None
    """The rank correlation of the candidates' validation scores and mean test scores."""
    close: RankAgreement | None
    """The same for the candidates that are at most `CLOSE_TO_BEST` below the best on validation."""
    base_pick: str | None
    """The label of the candidate with the highest validation accuracy on base classes."""
    base_pick_trial: str | None
    """The search trial with the highest validation accuracy on base classes.

    None when a candidate has as high an accuracy; else the trial's test score is unknown.
    """


def check_validation(
    entries: Sequence[Entry], search_trials: Sequence[TrialResult]
) -> ValidationCheck:
    """Compare the validation scores of tested candidates with their test scores.

    Args:
        entries: the tested candidates; those that validation did not rank are left out.
        search_trials: the trials of the search.
    """
    ranked = [entry for entry in entries if entry.val_score is not None]
    scores = [(entry.val_score or 0.0, entry.test.mean) for entry in ranked]
    threshold = max(scores, default=(0.0,))[0] - CLOSE_TO_BEST - _ROUNDING
    close = [pair for pair in scores if pair[0] >= threshold]
    base_of_trials = {
        trial.trial_id: trial.val.get(BASE_PART)
        for trial in search_trials
        if trial.status == "finished"
    }
    base_pick, accuracy = find_highest({entry.label: entry.val_base for entry in ranked})
    base_pick_trial, trial_accuracy = find_highest(base_of_trials)
    if accuracy >= trial_accuracy:
        base_pick_trial = None
    return ValidationCheck(
        agreement=rank_agreement(scores),
        close=rank_agreement(close),
        base_pick=base_pick,
        base_pick_trial=base_pick_trial,
    )


def find_highest(scores: Mapping[str, float | None]) -> tuple[str | None, float]:
    """Return the first name with the highest score, and this score; None if no name has one."""
    best_name = None
    best_score = -math.inf
    for name, score in scores.items():
        if score is not None and score > best_score:
            best_name = name
            best_score = score
    return best_name, best_score
