"""The time that a search has taken, which ``search.minutes`` limits."""

from collections.abc import Iterable, Mapping
from typing import Any

from study.storage.study_folder import StudyFolder

PAUSE = 60.0
"""The seconds without any work after which a search counts as interrupted."""
Epochs = list[tuple[float, float]]
"""The beginning and the end of epochs, in seconds since 1970."""


def epochs_of(reports: Iterable[Mapping[str, Any]]) -> Epochs:
    """Return when the reported epochs of a trial began and ended, also repeated ones."""
    return [
        (report["ended_at"] - report["seconds"], report["ended_at"])
        for report in reports
        if "ended_at" in report
    ]


def working_seconds(epochs: Iterable[tuple[float, float]]) -> float:
    """Return the seconds in which any epoch was trained, without interruptions."""
    total = 0.0
    until = None
    for begin, end in sorted(epochs):
        if until is None or begin - until > PAUSE:
            until = begin
        if end > until:
            total = total + end - until
            until = end
    return total


def seconds_used(folder: StudyFolder) -> float:
    """Return the seconds of ``search.minutes`` that the search of a study has taken so far."""
    epochs: Epochs = []
    for trial, _ in folder.trials_of("search"):
        epochs += epochs_of(trial.read_reports())
    return working_seconds(epochs)
