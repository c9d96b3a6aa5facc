"""The time that a search has taken, which ``search.minutes`` limits."""

import math
from collections.abc import Iterable
from itertools import chain

from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder

PAUSE = 60.0
"""The seconds without any work after which a search counts as interrupted."""


def working_seconds(reports: Iterable[JsonObject]) -> float:
    """Return the seconds in which any reported epoch was trained, without interruptions."""
    ended = [report for report in reports if "ended_at" in report]
    epochs = [(report["ended_at"] - report["seconds"], report["ended_at"]) for report in ended]
    total, until = 0.0, -math.inf
    for begin, end in sorted(epochs):
        if begin - until > PAUSE:
            until = begin
        total += max(0.0, end - until)
        until = max(until, end)
    return total


def seconds_used(folder: StudyFolder) -> float:
    """Return the seconds of ``search.minutes`` that the search of a study has taken so far."""
    trials = folder.trials_of("search")
    return working_seconds(chain.from_iterable(trial.read_reports() for trial, _ in trials))
