"""The GPUs of a machine: CUDA before MPS, and none where there is none."""

import re
from unittest.mock import Mock, call

import pytest
import torch

from study.errors import DataError
from study.method.device import choose_device, gpu_kind, list_gpus


@pytest.mark.parametrize(
    "cuda, mps, chosen, gpus",
    [
        (2, True, "cuda", ["0", "1"]),
        (0, True, "mps", ["Apple (MPS, untested)"]),
        (0, False, "cpu", []),
    ],
)
def test_auto_is_cuda_then_mps_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, chosen: str, gpus: list[str]
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert list_gpus() == gpus
    by_number = ", cuda:0, cuda:1" if chosen == "cuda" else ""
    allowed = "auto, cpu" if chosen == "cpu" else f"auto, cpu, {chosen}{by_number}"
    with pytest.raises(DataError, match=f"; expected one of {allowed}$"):
        choose_device("meta")
    ones = Mock()
    monkeypatch.setattr(torch, "ones", ones)
    device = torch.device(chosen)
    assert choose_device() == device
    assert ones.call_args_list == [call(1, device=device)], "no device is taken untried"


@pytest.mark.parametrize("name", ["tpu?", "", "cuda:99", "mps:7"])
def test_a_device_that_cannot_compute_is_refused_with_those_that_can(name: str):
    expected = "allowed here are|expected one of"
    if name[-1:].isdigit() and gpu_kind() is None:
        expected = rf"PyTorch finds no .*{expected}"
    with pytest.raises(DataError, match=f"device '{re.escape(name)}' .*({expected}) auto, cpu"):
        choose_device(name)
