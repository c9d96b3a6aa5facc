"""Frozen weights in the precision that the encoders compute in.

Autocast casts the weights of a frozen layer anew in every pass. Held in bfloat16, they need no cast
and half the memory. What is tuned, biases, LayerNorms and the states between blocks stay float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from study.method.recipe import Precision

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
