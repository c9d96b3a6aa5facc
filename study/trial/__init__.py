"""One trial: what it is given, how it is trained and judged, what it reports."""

from study.trial.contract import (
    SPLIT_HASH,
    EpochReport,
    Stage,
    Target,
    TrialConfig,
    TrialData,
)
from study.trial.run import run_trial, score

__all__ = [
    "SPLIT_HASH",
    "EpochReport",
    "Stage",
    "Target",
    "TrialConfig",
    "TrialData",
    "run_trial",
    "score",
]
