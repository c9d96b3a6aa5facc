"""The names of candidates, of groups of a search and of scores, for readers."""

from collections.abc import Iterable

from study.config.labels import (
    BASELINE,
    OPEN,
    PUBLISHED,
    RANKS,
    TUNED,
    WITH_DELTA,
    ZERO_SHOT,
)
from study.config.methods import METHODS
from study.config.trial_settings import Head
from study.results.rows import Row, ScoreNames
from study.trial.predictions import BALANCED
from study.trial.study import BEST

_NAMES = {
    ZERO_SHOT: "zero-shot CLIP",
    PUBLISHED: "CLIPFit as published",
    TUNED: "tuned CLIPFit",
    "bitfit": "all biases (BitFit)",
    "ln": "all LayerNorms",
    WITH_DELTA: "best that can be saved as a delta",
}
_NAMES |= {name: method.title for name, method in METHODS.items()}
_NAMES |= {rank: f"{rank} by validation" for rank in RANKS}
_GROUPS = {OPEN: "open search", BASELINE: "baselines"}
_UNNAMED = {BEST, WITH_DELTA}
"""Labels that add nothing to the name of the candidate whose training they share."""


def candidate_name(label: str) -> str:
    """Return the name of a candidate for readers; one without a name of its own has its label.

    Args:
        label: its label; after an extension, that of an earlier candidate ends with ``-of-TRIALS``.
    """
    role, _, trials = label.rpartition("-of-")
    if role in _NAMES and trials.isdigit():
        return f"{_NAMES[role]}, of {trials} trials"
    return _NAMES.get(label, label)


def entry_name(entry: Row) -> str:
    """Return the name of a tested candidate, with the others that share its training."""
    first, *others = entry.labels
    named = [first, *(label for label in others if label not in _UNNAMED)]
    return ", also ".join(map(candidate_name, named))


def starred_name(entry: Row) -> str:
    """Return the name of a tested candidate, which ★ marks as the best configuration."""
    return f"{entry_name(entry)} ★" if entry.is_best else entry_name(entry)


def group_name(group: str) -> str:
    """Return the name of a group of a search; that of another method has the method's name."""
    return _GROUPS.get(group, candidate_name(group))


def score_titles(names: ScoreNames, heads: Iterable[Head] = ()) -> dict[str, str]:
    """Return the headers of the columns of scores, by the names of the scores.

    Args:
        names: the scores that tables of the study show.
        heads: the heads whose scores have columns of their own.
    """
    titles = {part: f"{part} %" for part in names.parts}
    titles["score"] = f"{names.metric if names.parts else 'test'} %"
    titles |= {f"score_{head}": f"{head} head" for head in heads}
    if names.balanced:
        titles[BALANCED] = f"{BALANCED} %"
    return titles
