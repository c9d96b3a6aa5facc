"""The devices of this machine."""

from collections.abc import Sequence


def gpus_here() -> Sequence[str]:
    """Return the names of the GPUs that PyTorch can use here."""
    import torch  # takes a second to import

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
