"""Frozen weights in the precision that the encoders compute in, and which one is the faster.

Autocast casts the weights of a frozen layer anew in every pass. Held in bfloat16, they need no cast
and half the memory. What is tuned, biases, LayerNorms and the states between blocks stay float32.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from study.method.recipe import Precision
from study.method.torch_internals import multiplies_bfloat16

FASTER = 1.3
"""How many times as fast products must be in bfloat16, since not all of a step is products."""
SECONDS = 0.1
"""How many seconds of the CPU products are taken for in each precision."""
IMAGES, TOKENS, WIDTH = 8, 197, 768
"""The images whose tokens are multiplied at once, the tokens of an image in a ViT-B/16, and the
values of each."""
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def hold(model: nn.Module, precision: Precision) -> None:
    """Cast the frozen matrices of a model to a precision, in place.

    Embeddings are matrices too, but what they give is float32 again, since the sum of all blocks
    begins with it.

    Args:
        model: a frozen model, whose vectors stay as they are.
        precision: the precision that the encoders compute in; float32 changes nothing.
    """
    if precision == "float32":
        return
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.data = parameter.data.to(DTYPES[precision])
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(_in_float32)


def _in_float32(module: nn.Module, given: Any, found: Tensor) -> Tensor:
    return found.float()


def fastest(device: torch.device) -> Precision:
    """Return the precision in which a device computes products faster, by enough to matter.

    A GPU of NVIDIA has bfloat16 from Ampere on. A CPU that has instructions for it (AVX-512 BF16,
    AMX) is measured for 0.2 s. Other CPUs convert each number, and are not measured, since that
    takes seconds. Other devices are not asked.

    Args:
        device: the device of a trial.
    """
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return "bfloat16" if major >= 8 else "float32"
    if device.type != "cpu" or not multiplies_bfloat16():
        return "float32"
    faster = products_a_second(torch.bfloat16) / products_a_second(torch.float32)
    return "bfloat16" if faster >= FASTER else "float32"


def products_a_second(dtype: torch.dtype) -> float:
    """Return how many products of matrices the CPU takes a second, of the shapes of a ViT-B/16.

    The seconds are those of this process on the CPU, so that other work beside it changes little.

    Args:
        dtype: the type of the matrices.
    """
    tokens = torch.ones(IMAGES * TOKENS, WIDTH, dtype=dtype)
    weights = torch.ones(WIDTH, WIDTH, dtype=dtype)
    with torch.no_grad():
        tokens @ weights  # the first one prepares what the others need
        began, count = time.process_time(), 0
        while (seconds := time.process_time() - began) < SECONDS or not count:
            tokens @ weights
            count += 1
    return count / seconds
