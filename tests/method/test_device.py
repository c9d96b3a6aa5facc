"""The devices of a machine."""

import torch

from study.method.device import gpus_here


def test_gpus_are_those_that_pytorch_can_use() -> None:
    assert len(gpus_here()) == torch.cuda.device_count()
