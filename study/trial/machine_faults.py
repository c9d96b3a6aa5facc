"""Faults of a machine that a trial may meet, told from its own: scarce memory, a broken device."""

from __future__ import annotations

import gc

import torch

from study.errors import StudyError
from study.trial import image_activations, prompt_activations

SAID = ("out of memory", "DefaultCPUAllocator", "ALLOC_FAILED")
"""What a RuntimeError says where torch has no type for it: device, host, cuBLAS."""
DEVICE_SAID = "CUDA error"
"""What a RuntimeError says from a device that fails, where torch has no type for it."""


class OutOfMemoryError(StudyError):
    """A trial does not fit into memory, not even an image at a time."""


class DeviceError(StudyError):
    """The device failed, and this process cannot use it any more; another one may."""


def is_device_failure(error: BaseException) -> bool:
    """Tell whether an error leaves a process whose every later use of its device fails too."""
    said = isinstance(error, RuntimeError) and DEVICE_SAID in str(error)
    return said and not is_out_of_memory(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error would not be there with more memory, of the host or of the device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in SAID)


def free_memory() -> None:
    """Give back what this process keeps for speed alone, and what a failed step left behind."""
    image_activations.clear_cache()
    prompt_activations.clear_cache()
    gc.collect()
    torch.cuda.empty_cache()
