"""The labels of baselines and candidates, and the names of arms and scores."""

PUBLISHED = "clipfit"
"""The label of CLIPFit as published."""
TUNED = "clipfit-tuned"
"""The label of the best configuration of CLIPFit's own search."""
TUNED_LINEAR = "clipfit-tuned-linear"
"""The label of that configuration with a linear head."""
RANKS = ("best", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""The labels of the best configurations of the whole search, best first."""
WITH_DELTA = "best-with-delta"
"""The label of the best configuration with a delta, where the best has none."""
CALIBRATED = "best-calibrated"
"""The label of the best configuration with calibrated stacking."""
BEST_PEER = "best-peer"
"""The label of the best peer, where it is neither a baseline nor among the best."""
CANDIDATE_LABELS = (
    BEST_PEER,
    WITH_DELTA,
    CALIBRATED,
    TUNED_LINEAR,
)
"""The labels of candidates other than baselines and ranks."""
ZERO_SHOT = "zero-shot"
"""The label of the untuned backbone."""
SCORES = (
    "score",
    "accuracy",
    "base",
    "new",
    "hmean",
    "generalized",
    "ausuc",
    "calibration",
    "calibrated",
)
"""The names of scores in the reports of trials, where the score of a dataset has its name."""
LINEAR = "linear"
"""The label of a linear classifier on the untuned backbone."""
AS_PUBLISHED = (ZERO_SHOT, "clipfit", "bitfit", "ln")
"""The labels of the baselines that must have the text as head and strength 1 in a search."""
VARIANT = "variant"
"""The arm of the trials that add a head or another strength to settings validated without."""
ARMS = ("baseline", TUNED, "search", VARIANT)
"""The arms of a search, without those of its peers, which are called by the labels of the peers."""
