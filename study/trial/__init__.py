"""One trial: what it is given, how it is trained and judged, what it reports."""

from study.trial.contract import (
    SPLIT_HASH,
    EpochReport,
    Stage,
    Target,
    TrialConfig,
    TrialData,
)
from study.trial.faults import (
    DeviceError,
    OutOfMemoryError,
    free_memory,
    is_device_failure,
    is_out_of_memory,
)
from study.trial.run import run_trial, score

__all__ = [
    "SPLIT_HASH",
    "DeviceError",
    "EpochReport",
    "OutOfMemoryError",
    "Stage",
    "Target",
    "TrialConfig",
    "TrialData",
    "free_memory",
    "is_device_failure",
    "is_out_of_memory",
    "run_trial",
    "score",
]
