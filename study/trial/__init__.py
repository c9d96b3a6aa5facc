"""One trial: what it is given, how it is trained and judged, what it reports.

Here stands what describes a trial; `study.trial.run` trains one, and imports PyTorch for it.
"""

from study.trial.schema import (
    SPLIT_HASH,
    EpochReport,
    Stage,
    Target,
    TrialConfig,
    TrialData,
)

__all__ = [
    "SPLIT_HASH",
    "EpochReport",
    "Stage",
    "Target",
    "TrialConfig",
    "TrialData",
]
