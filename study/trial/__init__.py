"""One trial: its inputs, its training and evaluation, and its reports.

This module exports the types that describe a trial, without importing PyTorch.
`study.trial.run_trial` trains one.
"""

from study.trial.study import (
    SPLIT_HASH,
    EpochReport,
    Prediction,
    Split,
    Stage,
    Target,
    TrialConfig,
    TrialData,
)

__all__ = [
    "SPLIT_HASH",
    "EpochReport",
    "Prediction",
    "Split",
    "Stage",
    "Target",
    "TrialConfig",
    "TrialData",
]
