"""The GPUs of a machine: CUDA before MPS, and none where there is none."""

import pytest
import torch

from study.method.device import gpu_kind, gpus_here


def test_gpus_are_those_that_pytorch_can_use() -> None:
    assert len(gpus_here()) == torch.cuda.device_count() + (gpu_kind() == "mps")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (True, False, "cuda"), (False, False, None)],
)
def test_cuda_comes_before_mps(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert gpu_kind() == expected


def test_the_gpu_of_an_apple_is_one_and_called_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    (name,) = gpus_here()
    assert "untested" in name
