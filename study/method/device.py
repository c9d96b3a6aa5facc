"""The GPUs of this machine, by CUDA or, on Apple's chips, by MPS.

MPS is used as PyTorch documents it. It has been tested on no machine that has it.
"""

from collections.abc import Sequence
from typing import Literal


def gpu_kind() -> Literal["cuda", "mps"] | None:
    """Return what PyTorch calls the GPUs here; None if it can use none."""
    import torch  # takes a second to import

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


def gpus_here() -> Sequence[str]:
    """Return the names of the GPUs that PyTorch can use here."""
    import torch

    match gpu_kind():
        case "cuda":
            count = torch.cuda.device_count()
            return [torch.cuda.get_device_name(index) for index in range(count)]
        case "mps":
            return ["Apple's, by MPS, which is untested"]
        case _:
            return []
