"""The names of a study's candidates in tables and sentences, by their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.config.labels import (
    LINEAR,
    PUBLISHED,
    RANKS,
    TUNED,
    WITH_DELTA,
    ZERO_SHOT,
)
from study.method.peers import PEERS
from study.trial.study import BEST

if TYPE_CHECKING:
    from study.results.rows import Row
    from study.results.study_result import StudyResult

_NAMES = {
    ZERO_SHOT: "zero-shot CLIP",
    PUBLISHED: "CLIPFit as published",
    TUNED: "tuned CLIPFit",
    "bitfit": "all biases (BitFit)",
    "ln": "all LayerNorms",
    LINEAR: "linear on frozen CLIP",
    WITH_DELTA: "best that can be written as a delta",
}
_NAMES |= {peer: row.title for peer, row in PEERS.items()}
_NAMES |= {rank: f"{rank} by validation" for rank in RANKS}
_EARLIER = "-of-"
"""The text between the label of a choice before an extension and the number of its trials."""
_UNNAMED = {BEST, WITH_DELTA}
"""Labels that add nothing to the name of the candidate whose training they share."""


def candidate_name(label: str) -> str:
    """Return the name of a candidate for readers; one without a name of its own has its label.

    Args:
        label: its label; after an extension, that of an earlier choice ends with ``-of-TRIALS``.
    """
    start, ending = _split_label(label)
    if ending:
        trials = ending.removeprefix(_EARLIER)
        return f"{candidate_name(start)}, of {trials} trials"
    return _NAMES.get(label, label)


def rival_name(board: StudyResult, label: str) -> str:
    """Return the name that a sentence has for what the winner is compared with."""
    name = candidate_name(label)
    entry = board.find_row(label)
    if label == TUNED and entry and entry.label == PUBLISHED:
        name = joint_name((PUBLISHED, TUNED))
    return name


def entry_name(entry: Row) -> str:
    """Return the name of a tested candidate, with the others that share its training."""
    return joint_name(entry.labels)


def starred_name(entry: Row) -> str:
    """Return the name of a tested candidate, which ★ marks as the winner."""
    name = entry_name(entry)
    return f"{name} ★" if entry.is_best else name


def joint_name(labels: Sequence[str]) -> str:
    """Return the name of candidates that share a training, the first of which was trained."""
    name = candidate_name(labels[0])
    further = list(labels[1:])
    if labels[0] == PUBLISHED and TUNED in further:
        name = f"{candidate_name(PUBLISHED)} (no tuned rates validated better)"
        further.remove(TUNED)
    _, first_ending = _split_label(labels[0])
    for label in further:
        start, ending = _split_label(label)
        if start not in _UNNAMED or ending != first_ending:
            name += f", also {candidate_name(label)}"
    return name


def _split_label(label: str) -> tuple[str, str]:
    """Return a label, and the ending that an extension gave it, which is empty otherwise."""
    start, _, trials = label.rpartition(_EARLIER)
    if start in _NAMES and trials.isdigit():
        return start, f"{_EARLIER}{trials}"
    return label, ""
