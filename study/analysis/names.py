"""What tables and sentences call the candidates of a study, by their labels."""

from itertools import pairwise

from study.config.schema import (
    BEST_PEER,
    CALIBRATED,
    FULL_STRENGTH,
    LINEAR,
    PLAIN,
    PLAIN_STRENGTH,
    RANKS,
    SMALLEST,
    TUNED,
    TUNED_LINEAR,
    WITH_DELTA,
    ZERO_SHOT,
)
from study.trial.study import BEST

PUBLISHED = "clipfit"

RUNGS = {
    PUBLISHED: "published",
    TUNED: "rates",
    PLAIN: "subset",
    PLAIN_STRENGTH: "strength",
    BEST: "head",
}
"""The ladder from CLIPFit as published to the winner: labels, and what each adds to the last."""
STEPS = tuple(pairwise(RUNGS))
"""The steps of the ladder: pairs of labels."""

_NAMES = {
    ZERO_SHOT: "zero-shot CLIP",
    PUBLISHED: "CLIPFit as published",
    TUNED: "tuned CLIPFit",
    TUNED_LINEAR: "tuned CLIPFit with a linear head",
    "bitfit": "all biases (BitFit)",
    "ln": "all LayerNorms",
    LINEAR: "linear on frozen CLIP",
    "full": "full fine-tuning",
    "lora": "LoRA",
    **{rank: f"{rank} by validation" for rank in RANKS},
    SMALLEST: "smallest within one standard error",
    PLAIN: "{chosen}, α 1, head text",
    PLAIN_STRENGTH: "{chosen}, head text",
    FULL_STRENGTH: "{chosen}, α 1",
    CALIBRATED: "calibrated stacking",
    BEST_PEER: "best peer",
    WITH_DELTA: "best with a delta",
}
_UNNAMED = {BEST, SMALLEST, PLAIN, PLAIN_STRENGTH, FULL_STRENGTH, WITH_DELTA}
"""Labels that add nothing to the name of the candidate whose training they share."""


def name_of(label: str, chosen: str = "winner") -> str:
    """Return what a reader calls a candidate; one without a name of its own has its label.

    Args:
        label: its label; after an extension, that of an earlier choice ends with ``-of-TRIALS``.
        chosen: what the candidate is called that validation chose.
    """
    start, _, trials = label.rpartition("-of-")
    if start in _NAMES and trials.isdigit():
        return f"{name_of(start, chosen)}, of {trials} trials"
    return _NAMES.get(label, label).replace("{chosen}", chosen)


def joint_name(labels: tuple[str, ...], chosen: str = "winner") -> str:
    """Return the name of candidates that share a training, the first of which was trained."""
    named = (labels[0], *(label for label in labels[1:] if label not in _UNNAMED))
    return " = ".join(name_of(label, chosen) for label in named)
