"""SigLIP's pool: an attention whose three biases are one tensor, of which one part has no effect.

PyTorch's `MultiheadAttention` keeps the biases of queries, keys and values in one tensor,
``in_proj_bias``. As sites they are tuned alone, and the key's bias never, so that the tensor is
made of three parameters for as long as the model is tuned.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from study.backbones.architecture import POOL

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BIASES = "in_proj_bias"


class _Joined(nn.Module):
    """A vector that is made of three of equal length."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.cat([query, key, value])

    def right_inverse(self, joined: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in joined.chunk(3))


def part_biases(model: Any) -> None:
    """Make the pool's biases of queries, keys and values three parameters, in place.

    They are called ``original0``, ``original1`` and ``original2``; nothing is computed differently.

    Args:
        model: a transformers ``SiglipModel``.
    """
    parametrize.register_parametrization(_pool(model), _BIASES, _Joined())


def as_published(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model whose parameters have transformers' names, with values of its own.

    A CLIP has them and is returned as it is.
    """
    if model.config.model_type != "siglip":
        return model
    whole = copy.deepcopy(model)
    parametrize.remove_parametrizations(_pool(whole), _BIASES)
    return whole


def _pool(model: Any) -> nn.Module:
    pool: nn.Module = model.vision_model.get_submodule(POOL)
    return pool
