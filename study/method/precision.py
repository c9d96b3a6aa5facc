"""The cast of frozen weights to the precision of the encoders, and which precision is used.

Autocast casts the weights of a frozen layer anew in every pass. Weights that are stored in bfloat16
need no cast and half the memory. Tuned parameters, biases, LayerNorms and the states between blocks
stay float32.
"""

from __future__ import annotations

import time

import torch
from torch import nn

from study.method.training_options import Precision

FASTER = 1.3
"""How many times as fast products must be in bfloat16, since a step also does other work."""
SECONDS = 0.1
"""How many seconds of CPU time the products of one precision are measured."""
IMAGES, TOKENS, WIDTH = 8, 197, 768
"""The images of a product, the tokens of an image in a ViT-B/16, and the width of a token."""


def cast_matrices(model: nn.Module, precision: Precision) -> None:
    """Cast the frozen matrices of a model to a precision, in place.

    Embeddings are cast too, but their outputs are cast back to float32, because the sum of all
    blocks starts from them.

    Args:
        model: a frozen model, whose vectors stay as they are.
        precision: the precision that the encoders compute in; float32 changes nothing.
    """
    if precision == "float32":
        return
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.data = parameter.data.to(torch.bfloat16)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(lambda embedding, inputs, output: output.float())


def choose_precision(device: torch.device) -> Precision:
    """Return bfloat16 if a device multiplies matrices in it much faster, else float32.

    NVIDIA's GPUs have bfloat16 from Ampere on. A CPU is measured; it takes less than a second if it
    has instructions for bfloat16 (AVX-512 BF16, AMX), and a few if it has not and converts each
    number. All other devices get float32.

    Args:
        device: the device of a trial.
    """
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        is_faster = major >= 8
    elif device.type == "cpu":
        bfloat16 = measure_products_per_second(torch.bfloat16)
        is_faster = bfloat16 / measure_products_per_second(torch.float32) >= FASTER
    else:
        is_faster = False
    if is_faster:
        return "bfloat16"
    return "float32"


def measure_products_per_second(dtype: torch.dtype) -> float:
    """Return how many matrix products per second the CPU computes, in the shapes of a ViT-B/16.

    The time is the CPU time of this process, so that other processes change it little.

    Args:
        dtype: the type of the matrices.
    """
    tokens = torch.ones(IMAGES * TOKENS, WIDTH, dtype=dtype)
    weights = torch.ones(WIDTH, WIDTH, dtype=dtype)
    with torch.no_grad():
        tokens @ weights  # the first product also prepares the kernels
        began = time.process_time()
        count = 0
        seconds = time.process_time() - began
        while seconds < SECONDS or count == 0:
            tokens @ weights
            count += 1
            seconds = time.process_time() - began
    return count / seconds
