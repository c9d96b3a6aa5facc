"""The labels of baselines and candidates, and the names of groups and scores."""

PUBLISHED = "clipfit"
"""The label of CLIPFit as published."""
TUNED = "clipfit-tuned"
"""The label of the best of tuned CLIPFit, and the name of its group."""
RANKS = ("best", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""The labels of the best configurations of the whole search, best first."""
WITH_DELTA = "best-with-delta"
"""The label of the best configuration with a delta, where the best has none."""
ZERO_SHOT = "zero-shot"
"""The label of the untuned backbone."""
SCORES = ("score", "accuracy", "base", "new", "hmean", "score_text", "score_linear")
"""The names of scores in the reports of trials, where the score of a dataset has its name."""
LINEAR = "linear"
"""The label of a linear classifier on the untuned backbone."""
BASELINE, OPEN = "baseline", "search"
"""The groups of the baselines and of the open search; another method's has its label."""
