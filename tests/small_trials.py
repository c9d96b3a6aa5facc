"""Small trials on real digits and letters, and what two of them have in common to the bit."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.method.delta import DeltaInfo, save_delta
from study.storage.result_folder import JsonObject
from study.storage.trial_folder import TrialFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import EpochReport, TrialConfig, TrialData
from tests.settings import with_settings

EPOCHS = 4
TIMED = ("seconds", "images_per_second")


SETTINGS: dict[str, JsonObject] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
"""Sections of the configuration by the name of a setting."""


Prepare = Callable[[str], Preparer]


def study(setting: str, storage: Path) -> StudyConfig:
    return build_config({"storage": str(storage), **SETTINGS[setting]}, setting)


def trial(**changes: Any) -> TrialConfig:
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
        "epochs": EPOCHS,
        "split_hash": "0",
        "training": {"batch_size": 8},
    }
    return TrialConfig.model_validate(with_settings(values | changes))


def last_report(data: TrialData, backbone: Backbone, **changes: Any) -> EpochReport:
    """Run a trial to its end."""
    *_, report = run_trial(trial(**changes), data, backbone)
    return report


def train_and_save(
    folder: Path, config: TrialConfig, data: TrialData, backbone: Backbone, name: str
):
    """Train a trial on a backbone of a name, and write its last report and its delta."""
    *_, last = run_trial(config, data, backbone)
    TrialFolder(folder).append_report({"epoch": last.epoch, **last.metrics, "head": last.head})
    info = DeltaInfo(
        backbone=name,
        revision=None,
        fingerprint=backbone.fingerprint,
        subset=config.settings.subset,
        class_names=data.class_names,
        templates=data.templates,
    )
    save_delta(folder / "delta.safetensors", last.deltas[0], info)


def outcome(report: EpochReport) -> JsonObject:
    """What a report says, less what depends on the machine's mood."""
    return {
        "epoch": report.epoch,
        "done": report.done,
        **{name: value for name, value in report.metrics.items() if name not in TIMED},
        **{f"state {name}": digest(tensor) for name, tensor in report.state.items()},
        **{
            f"delta {index} {name}": digest(tensor)
            for index, delta in enumerate(report.deltas)
            for name, tensor in delta.items()
        },
        "predictions": report.predictions,
    }


def digest(tensor: Tensor) -> str:
    contents = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(contents).hexdigest()[:12]


def outcomes(reports: Iterator[EpochReport]) -> list[JsonObject]:
    return [outcome(report) for report in reports]
