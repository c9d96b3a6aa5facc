"""A machine's faults are distinguished from a trial's own."""

import pytest
import torch

from study.trial.machine_faults import is_device_failure, is_out_of_memory


@pytest.mark.parametrize(
    "error, is_memory, is_device",
    [
        (MemoryError(), True, False),
        (torch.OutOfMemoryError("of a device"), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True, False),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("shapes differ"), False, False),
        (ValueError("out of memory"), False, False),
    ],
)
def test_scarce_memory_and_a_broken_device_are_reported_apart(
    error: Exception, is_memory: bool, is_device: bool
):
    assert (is_out_of_memory(error), is_device_failure(error)) == (is_memory, is_device)
