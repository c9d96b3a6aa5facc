"""Recognition of failures that the machine causes, not the trial: low memory, a failed device."""

import gc

import torch

from study.errors import StudyError
from study.trial.activations import IMAGES, PROMPTS

LOW_MEMORY = ("out of memory", "DefaultCPUAllocator", "ALLOC_FAILED")
"""Parts of the messages of RuntimeErrors that mean low memory: device, host, cuBLAS.

PyTorch does not always raise its own type for it, `torch.OutOfMemoryError`."""


class OutOfMemoryError(StudyError):
    """A trial that does not fit into memory, even with one image at a time."""


class DeviceError(StudyError):
    """A failed device that this process can no longer use; another process may."""


def is_device_failure(error: BaseException) -> bool:
    """Return whether every later use of the device by this process will fail like this one."""
    return _is_runtime_error(error, "CUDA error") and not is_out_of_memory(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether too little memory, of the host or of the device, caused an error."""
    is_of_its_type = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return is_of_its_type or _is_runtime_error(error, *LOW_MEMORY)


def _is_runtime_error(error: BaseException, *texts: str) -> bool:
    """Return whether PyTorch raised an error that only one of some texts tells from others."""
    message = str(error)
    return isinstance(error, RuntimeError) and any(text in message for text in texts)


def free_memory() -> None:
    """Free the caches of this process, which fill again, and the memory of a failed step."""
    IMAGES.results.clear()
    PROMPTS.results.clear()
    gc.collect()
    torch.cuda.empty_cache()
