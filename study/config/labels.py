"""The labels of baselines and candidates, and the names of arms and scores."""

TUNED = "clipfit-tuned"
"""The label of the best configuration of CLIPFit's own search."""
TUNED_LINEAR = "clipfit-tuned-linear"
"""The label of that configuration with a linear head."""
RANKS = ("best", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""The labels of the best configurations of the whole search, best first."""
SMALLEST = "smallest"
"""The label of the candidate with the fewest tuned values within one standard error of the best."""
WITH_DELTA = "best-with-delta"
"""The label of the best configuration with a delta, where the best has none."""
PLAIN, PLAIN_STRENGTH, FULL_STRENGTH = "best-plain", "best-text", "best-full-strength"
"""The labels of the best configuration with neither head nor strength, without its head, and
without its strength."""
CALIBRATED = "best-calibrated"
"""The label of the best configuration with calibrated stacking."""
BEST_PEER = "best-peer"
"""The label of the best peer, where it is neither a baseline nor among the best."""
CANDIDATE_LABELS = (
    *(SMALLEST, BEST_PEER, WITH_DELTA, PLAIN, PLAIN_STRENGTH, FULL_STRENGTH, CALIBRATED),
    TUNED_LINEAR,
)
"""The labels that candidates have beside those of baselines and ranks."""
ZERO_SHOT = "zero-shot"
"""The label of the backbone as it is."""
SCORES = (
    *("score", "accuracy", "base", "new", "hmean"),
    *("generalized", "ausuc", "calibration", "calibrated"),
)
"""The names of scores in the reports of trials; single datasets have scores of their own names."""
LINEAR = "linear"
"""The label of a linear classifier on the backbone as it is."""
AS_PUBLISHED = (ZERO_SHOT, "clipfit", "bitfit", "ln")
"""The labels of baselines that in a search have neither a head nor another strength."""
VARIANT = "variant"
"""The arm of the trials that use validated settings with a head or at another strength."""
ARMS = ("baseline", TUNED, "search", VARIANT)
"""The names of the parts of a search beside its peers, each of which has its label for a name."""
