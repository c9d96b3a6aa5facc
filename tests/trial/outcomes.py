"""Trials of other methods, and what two trainings of a trial have in common to the bit."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.methods import Method
from study.config.trial_settings import TrialSettings
from study.storage.result_folder import JsonObject
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import EpochReport, TrialConfig, TrialData
from tests.settings import clipfit_trial

TIMED = ("seconds", "images_per_second")
Prepare = Callable[[str], Preparer]


def method_trial(
    method: Method, alpha: float = 1.0, head: str = "text", **more: Any
) -> TrialConfig:
    """A trial of another method, by its own recipe."""
    settings = TrialSettings(subset="none", method=method, alpha=alpha, head=head)
    training: JsonObject = {"batch_size": 8, "optimizer": method.optimizer}
    training["regularizer"] = method.regularizer or "cosine"
    training["weight_decay"] = method.weight_decay
    return clipfit_trial(training=training, settings=settings, **more)


def last_report(data: TrialData, backbone: Backbone, **changes: Any) -> EpochReport:
    """Run a trial to its end."""
    *_, report = run_trial(clipfit_trial(**changes), data, backbone)
    return report


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
