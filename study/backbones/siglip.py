"""SigLIP's pool: an attention whose biases of queries, keys and values are one tensor.

PyTorch's `MultiheadAttention` stores them as ``in_proj_bias``. The biases of queries and of values
are sites of their own, and the bias of keys is never tuned, since it has no effect. So the tensor
is made of three parameters while a model is tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from study.backbones.architecture import POOL

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BIASES = "in_proj_bias"


class _Joined(nn.Module):
    """A vector that is the concatenation of three vectors of equal length."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.cat([query, key, value])

    def right_inverse(self, joined: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in joined.chunk(3))


def split_biases(model: Any) -> None:
    """Split the pool's biases of queries, keys and values into three parameters, in place.

    They are called ``original0``, ``original1`` and ``original2``; nothing is computed differently.

    Args:
        model: a transformers ``SiglipModel``.
    """
    pool = model.vision_model.get_submodule(POOL)
    parametrize.register_parametrization(pool, _BIASES, _Joined())


def with_published_names(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model whose parameters have transformers' names.

    A CLIP already has them and is returned itself.
    """
    if model.config.model_type != "siglip":
        return model
    # Not a copy whose biases are joined: PyTorch would join those of the original, too.
    published = type(model)(model.config).eval()
    tensors = model.state_dict()
    pool = f"vision_model.{POOL}"
    parts = (f"{pool}.parametrizations.{_BIASES}.original{part}" for part in range(3))
    tensors[f"{pool}.{_BIASES}"] = torch.cat([tensors.pop(part) for part in parts])
    published.load_state_dict(tensors)
    return published
