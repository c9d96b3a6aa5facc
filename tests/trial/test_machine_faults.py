"""A machine's faults are told apart from a trial's own."""

from pathlib import Path

import pytest
import torch

from study.trial import activations
from study.trial.machine_faults import free_memory, is_device_failure, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("of a device"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_scarce_memory_is_known_and_is_no_broken_device(error: Exception):
    assert is_out_of_memory(error)
    assert not is_device_failure(error)


def test_a_broken_device_is_known():
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert is_device_failure(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes differ")])
def test_other_faults_are_a_trials_own(error: Exception):
    assert not is_out_of_memory(error)
    assert not is_device_failure(error)


def test_what_is_kept_for_speed_alone_is_given_back():
    activations.IMAGES.results[(Path("images.arrow"),)] = {"features": torch.zeros(2)}
    free_memory()
    assert not activations.IMAGES.results
