"""The device that a tuned classifier computes on."""

import torch

from study.errors import DataError
from study.method.device import gpu_kind

ALLOWED = "auto, cpu, cuda, cuda:0 …, mps"


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name, after a first computation on it.

    ``auto`` is the GPU that `study.method.device.gpu_kind` finds, CUDA before MPS, else the CPU. No
    machine that has MPS has tested it.

    Args:
        name: ``auto``, or a device as PyTorch names it.

    Raises:
        DataError: PyTorch does not know the device, or this machine does not have it.
    """
    if name == "auto":
        name = gpu_kind() or "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DataError(f"device '{name}' is unknown; allowed are {ALLOWED}") from error
    try:
        torch.ones(1, device=device).item()
    except Exception as error:  # each kind of device fails in its own way
        cause = (str(error).strip() or repr(error)).splitlines()[0]
        raise DataError(
            f"device '{name}' cannot be used here ({cause}); allowed are {ALLOWED}, where the "
            "machine and this build of PyTorch have them"
        ) from error
    return device
