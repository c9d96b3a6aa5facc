"""What the steps of a trial cost: they are real, and a process of their own has their memory."""

from pathlib import Path

import pytest

from study.config.schema import BackboneConfig, TrainingConfig
from study.trial.cost import measure, measure_apart

TEXTS = ["a photo of a cat.", "a photo of a dog."]


@pytest.mark.parametrize("measured", [measure, measure_apart])
def test_real_steps_are_measured(tiny_backbone: Path, measured: object) -> None:
    assert callable(measured)
    backbone = BackboneConfig(name=str(tiny_backbone))
    cost = measured(backbone, TrainingConfig(batch_size=4), TEXTS, 1, False)
    assert 0 < cost.image < cost.step < 10
    assert cost.memory > 10**7
