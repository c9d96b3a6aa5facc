"""What the steps of a trial cost: they are real, and a process of their own has their memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from study.config.schema import BackboneConfig, TrainingConfig
from study.errors import BackboneError
from study.trial.cost import Cost, measure, measure_in_processes
from study.trial.machine_faults import OutOfMemoryError

TEXTS = ["a photo of a cat.", "a photo of a dog."]


@pytest.mark.parametrize(
    "measured",
    [measure, pytest.param(measure_in_processes, marks=[pytest.mark.long, pytest.mark.ci])],
)
def test_real_steps_are_measured(tiny_backbone: Path, measured: Callable[..., Cost]):
    backbone = BackboneConfig(name=str(tiny_backbone))
    cost = measured(backbone, TrainingConfig(batch_size=4), TEXTS, 1, False)
    assert 0 < cost.image < cost.step < 10
    assert cost.memory > 10**7
    assert cost.start > 0


def too_large(*_: object, **__: object):
    torch.empty(2**60)


def in_a_thread(*_: object, **__: object) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


# The second is of a process that the system has ended.
@pytest.mark.parametrize("measured", [too_large, Mock(side_effect=BrokenProcessPool)])
def test_what_does_not_fit_into_memory_is_reported(
    monkeypatch: pytest.MonkeyPatch, measured: Callable[..., Cost]
):
    monkeypatch.setattr("study.trial.cost.measure", measured)
    monkeypatch.setattr("study.trial.cost.ProcessPoolExecutor", in_a_thread)
    with pytest.raises(OutOfMemoryError, match=r"training\.batch_size images at once"):
        measure_in_processes()


def test_a_fault_is_reported_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("study.trial.cost.ProcessPoolExecutor", in_a_thread)
    with pytest.raises(BackboneError, match="is not a folder"):
        measure_in_processes(BackboneConfig(name="/not/there"), TrainingConfig(), TEXTS, 1, False)
