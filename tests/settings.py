"""TrialSettings, and studies, in one line, as tests of searches and of trials need them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.backbones.architecture import Architecture, EncoderShape
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings, settings_columns
from study.protocols import FewShot
from study.storage.study_folder import StudyFolder
from study.trial.study import Study, TrialConfig, TrialData

ARCHITECTURE = Architecture(
    EncoderShape(2, 32, 64), EncoderShape(3, 32, 64), image_size=16, dim=16, checkpoint="tiny"
)

FEW: Mapping[str, None] = {"bitfit": None, "ln": None, "linear": None, "clap": None}
"""The entries of ``search.baselines`` that leave out all but zero-shot CLIP and CLIPFit."""
NONE: Mapping[str, None] = {"zero-shot": None, "clipfit": None, **FEW}
"""Those that leave out all."""


def settings(
    subset: str, bias: float | None = None, ln: float | None = None, weight: float = 0.0
) -> TrialSettings:
    """TrialSettings of a subset, with a rate for each kind that has one."""
    rates = {kind: rate for kind, rate in (("bias", bias), ("ln", ln)) if rate is not None}
    return TrialSettings(subset=subset, rates=rates, distill_weight=weight)


def with_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's or candidate's record of which the settings are given as columns of tables are."""
    columns = {*settings_columns(), "method"} & record.keys()
    own = TrialSettings.from_column_values({name: record[name] for name in columns})
    rest = {name: value for name, value in record.items() if name not in columns}
    return {"settings": own.model_dump(mode="json"), **rest}


def study_of(
    config: StudyConfig, folder: StudyFolder, architecture: Architecture = ARCHITECTURE
) -> Study:
    """A study of a backbone that nobody reads."""
    study = Study(config, folder)
    vars(study)["architecture"] = architecture
    return study


def trial_data(**changes: Any) -> TrialData:
    """What trials read, without any task and without a file."""
    data = TrialData(
        protocol=FewShot(),
        class_names=("a",),
        templates=("{}",),
        tasks=(),
        digest="0" * 64,
        train_images=Path(),
        eval_images=Path(),
        augment=False,
        split="test",
    )
    return replace(data, **changes)


def clipfit_trial(**changes: Any) -> TrialConfig:
    """CLIPFit at rates at which a random model moves."""
    values = {
        "trial_id": "search-0001",
        "stage": "search",
        "group": "baseline",
        "label": "clipfit",
        "number": 1,
        "seed": 1,
        "subset": "clipfit",
        "trainable": 1,
        "bias_lr": 0.05,
        "ln_lr": 0.02,
        "distill_weight": 1.0,
        "epochs": 4,
        "split_hash": "0",
        "training": {"batch_size": 8},
    }
    return TrialConfig.model_validate(with_settings(values | changes))
