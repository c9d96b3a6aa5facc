"""The GPUs of a machine: CUDA before MPS, and none where there is none."""

import re
from unittest.mock import Mock, call

import pytest
import torch

from study.errors import DataError
from study.method.device import choose_device, gpu_kind, list_gpus


@pytest.mark.parametrize(
    "cuda, mps, chosen, gpus, allowed",
    [
        (2, True, "cuda", ["0", "1"], "auto, cpu, cuda, cuda:0, cuda:1"),
        (0, True, "mps", ["Apple's, by MPS, which is untested"], "auto, cpu, mps"),
        (0, False, "cpu", [], "auto, cpu"),
    ],
)
def test_auto_is_cuda_then_mps_then_the_cpu_and_no_more_is_allowed_than_is_there(
    monkeypatch: pytest.MonkeyPatch,
    cuda: int,
    mps: bool,
    chosen: str,
    gpus: list[str],
    allowed: str,
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    with pytest.raises(DataError, match=f"; allowed here are {allowed}$"):
        choose_device("meta")
    assert list_gpus() == gpus
    ones = Mock()
    monkeypatch.setattr(torch, "ones", ones)
    device = torch.device(chosen)
    assert choose_device() == choose_device("auto") == device
    assert ones.call_args_list == [call(1, device=device)] * 2, "no device is taken untried"


@pytest.mark.parametrize("name", ["tpu?", "", "cuda:99", "mps:7"])
def test_a_device_that_cannot_compute_is_refused_with_those_that_can(name: str):
    with pytest.raises(
        DataError,
        match=f"device '{re.escape(name)}' .*(allowed here are|expected one of) auto, cpu",
    ):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_reported_without_the_words_of_pytorch(name: str):
    if gpu_kind() == name:
        pytest.skip("this machine has one")
    with pytest.raises(DataError, match=f"\\(PyTorch finds no {name.upper()} on this machine\\)"):
        choose_device(name)
