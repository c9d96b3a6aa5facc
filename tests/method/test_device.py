"""The GPUs of a machine: CUDA before MPS, and none where there is none."""

import pytest
import torch

from study.errors import DataError
from study.method.device import choose_device, gpu_kind, list_gpus


def test_gpus_are_those_that_pytorch_can_use() -> None:
    assert len(list_gpus()) == torch.cuda.device_count() + (gpu_kind() == "mps")


def test_the_gpu_of_an_apple_is_one_and_called_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    (name,) = list_gpus()
    assert "untested" in name


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [
        (True, True, "cuda"),
        (True, False, "cuda"),
        (False, True, "mps"),
        (False, False, "cpu"),
    ],
)
def test_auto_is_cuda_then_mps_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    tried: list[torch.device] = []
    one = torch.ones(1)

    def ones(*_: int, device: torch.device) -> torch.Tensor:
        tried.append(device)
        return one

    monkeypatch.setattr(torch, "ones", ones)
    assert choose_device() == choose_device("auto") == torch.device(chosen)
    assert tried == [torch.device(chosen)] * 2, "no device is taken untried"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tpu?", "device 'tpu\\?' is unknown; allowed are auto, cpu, cuda, cuda:0 …, mps"),
        ("", "device '' is unknown"),
        ("meta", "device 'meta' cannot be used here"),
        ("cuda:99", "device 'cuda:99' cannot be used here \\(.+\\); allowed here are auto, cpu"),
        ("mps:7", "device 'mps:7' cannot be used here"),
    ],
)
def test_a_device_that_cannot_compute_is_refused(name: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        choose_device(name)


@pytest.mark.parametrize(
    ("kind", "count", "allowed"),
    [
        ("cuda", 2, "auto, cpu, cuda, cuda:0, cuda:1"),
        ("mps", 1, "auto, cpu, mps"),
        (None, 0, "auto, cpu"),
    ],
)
def test_what_is_allowed_is_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, allowed: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
    with pytest.raises(DataError, match=f"; allowed here are {allowed}$"):
        choose_device("meta")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_told_without_the_words_of_pytorch(name: str) -> None:
    if gpu_kind() == name:
        pytest.skip("this machine has one")
    with pytest.raises(DataError, match=f"\\(PyTorch finds no {name.upper()} on this machine\\)"):
        choose_device(name)
