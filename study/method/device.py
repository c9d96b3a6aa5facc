"""The devices of this machine: the CPU, and GPUs by CUDA or, on Apple's chips, by MPS.

MPS is used as PyTorch documents it. It has been tested on no machine that has it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from study.errors import DataError

if TYPE_CHECKING:
    import torch  # takes a second to import

ALLOWED = "auto, cpu, cuda, cuda:0 …, mps"


def gpu_kind() -> Literal["cuda", "mps"] | None:
    """Return PyTorch's name for the kind of this machine's GPUs; None if it can use none."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return None


def list_gpus() -> Sequence[str]:
    """Return the names of the GPUs that PyTorch can use on this machine."""
    import torch

    match gpu_kind():
        case "cuda":
            return list(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
        case "mps":
            return ["Apple (MPS, untested)"]
        case _:
            return []


def choose_device(name: str = "auto") -> "torch.device":
    """Return the device of a name, after a first computation has succeeded on it.

    ``auto`` is the GPU that `gpu_kind` finds, CUDA before MPS, else the CPU.

    Args:
        name: ``auto``, or a device as PyTorch names it.

    Raises:
        DataError: PyTorch does not know the device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        name = gpu_kind() or "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DataError(f"device '{name}' is unknown; expected one of {ALLOWED}") from error
    try:
        torch.ones(1, device=device).item()
    except Exception as error:  # each kind of device fails in its own way
        kind = gpu_kind()
        message = str(error).strip() or repr(error)
        cause = message.splitlines()[0]
        if device.type in ("cuda", "mps") and device.type != kind:
            cause = f"PyTorch finds no {device.type.upper()} on this machine"
        names = ["auto", "cpu", *([kind] if kind else [])]
        if kind == "cuda":
            names += [f"cuda:{index}" for index in range(len(list_gpus()))]
        raise DataError(
            f"device '{name}' cannot be used ({cause}); expected one of {', '.join(names)}"
        ) from error
    return device
