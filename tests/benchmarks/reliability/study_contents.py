"""What the trials of a study are in the end, without times, and how two studies differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from study.errors import StudyError
from study.storage.trial_folder import TrialFolder

UNLIKE = ("config_hash",)
"""What differs where a proposal was lost with its driver, or where the code has changed since."""
TIMED = ("seconds", "ended_at", "images_per_second", "began_at")


def trial_contents(trial: TrialFolder) -> list[Any]:
    """Return a trial's configuration, epochs, end and the hashes of its files, without times.

    Raises:
        StudyError: the trial is damaged.
    """
    damage = trial.damaged()
    if damage:
        raise StudyError(f"{trial.trial_id} is damaged: {damage}")
    config = {key: value for key, value in trial.read_config().items() if key not in UNLIKE}
    reports = []
    for report in trial.read_reports():
        reports.append({key: value for key, value in report.items() if key not in TIMED})
    hashes = {}
    for pattern in ("*.safetensors", "predictions.parquet"):
        for path in trial.path.glob(pattern):
            hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    end = trial.read_end()
    ending: list[Any] = []
    if end is not None:
        ending = [end.status, end.epochs]
        if end.status != "finished":  # that of a finished one tells which training it was
            ending.append(end.reason)
    return [config, reports, ending, hashes]


def differences(one: Any, other: Any) -> Iterator[str]:
    """Yield in words each value that two nested lists and dicts do not share."""
    old, new = dict(flatten(one)), dict(flatten(other))
    for place in sorted(old.keys() | new.keys()):
        pair = old.get(place, "missing"), new.get(place, "missing")
        if pair[0] != pair[1]:
            yield f"{place} is {pair[0]}, in the other {pair[1]}"


def flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in nested lists and dicts with its place, and the length of each."""
    if isinstance(value, dict | list):
        yield f"{place}/length", len(value)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from flatten(inner, f"{place}/{key}")
    else:
        yield place, value
