"""Settings, and studies, in one line, as tests of searches and of trials need them."""

from study.config.schema import StudyConfig
from study.config.settings import Settings
from study.method.checkpoint import Architecture
from study.storage.ledger import StudyFolder
from study.trial.study import Study


def settings(
    subset: str, bias: float | None = None, ln: float | None = None, weight: float = 0.0
) -> Settings:
    """Settings of a subset, with a rate for each kind that has one."""
    rates = {kind: rate for kind, rate in (("bias", bias), ("ln", ln)) if rate is not None}
    return Settings(subset=subset, rates=rates, distill_weight=weight)


def study_of(config: StudyConfig, folder: StudyFolder, architecture: Architecture) -> Study:
    """A study of a backbone that nobody reads."""
    study = Study(config, folder)
    study._known["architecture"] = architecture
    return study
